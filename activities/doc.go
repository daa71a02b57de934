// Package activities holds what Gantry does outside: each activity is one piece
// of work with the world that is safe to repeat.
//
// Activities hold no retry loops; the policy of the workflow retries them. They
// hold no decisions either: what a run should become is decided in workflows.
// An error says whether trying again may help: see classify.
package activities
