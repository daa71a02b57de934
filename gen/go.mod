module github.com/gantryhq/gantry/gen

go 1.26.0

require (
	github.com/go-chi/chi/v5 v5.5.0
	github.com/oapi-codegen/runtime v1.8.0
)
