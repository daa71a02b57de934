// Package docker drives the containers that docker/stack starts on a real
// engine, over HTTP only. It needs the engine and the images, and is no part of
// `make e2e`: make check-docker.
package docker
