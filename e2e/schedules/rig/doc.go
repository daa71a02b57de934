// Package rig runs everything around a batch of schedules: Temporal, the replicas
// and the worker of Gantry, each in a process that can be killed and paused, a
// simulated Spacelift, a load balancer in front of the webhook and the receiver of
// notifications. All of them write to one history.
package rig
