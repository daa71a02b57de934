//go:build generate

// The one place that names the code generators. Their versions are pinned in
// tools.mod, so that their requirements stay out of go.mod.
package gantry

//go:generate go tool -modfile=tools.mod oapi-codegen -config openapi/models.cfg.yaml openapi/gantry.yaml
//go:generate go tool -modfile=tools.mod oapi-codegen -config openapi/server.cfg.yaml openapi/gantry.yaml
//go:generate go tool -modfile=tools.mod oapi-codegen -config openapi/client.cfg.yaml openapi/gantry.yaml
//go:generate go tool -modfile=tools.mod genqlient spacelift/spaceliftapi/genqlient.yaml
//go:generate go tool -modfile=tools.mod templ generate -path web -lazy=false
