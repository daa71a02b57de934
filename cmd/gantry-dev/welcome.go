package main

import (
	"bytes"
	"io"
	"text/template"
)

var welcome = template.Must(template.New("welcome").Parse(`
Gantry's lab is ready.

  Swagger UI    {{.Gantry}}/docs
  API           {{.Gantry}}/v1/runs      token: {{.Token}}
  Webhook       {{.Gantry}}/webhook      secret: {{.Secret}}
  Temporal UI   {{.TemporalUI}}
  Spacelift     {{.Spacelift}}      simulated, account {{.Account}}
  People        {{range $i, $p := .People}}{{if $i}}, {{end}}{{$p}}{{end}}      may approve runs, token: gantry_<name>

Push a change to a simulated stack that Gantry confirms by itself:

  curl -s --json '{"plan":{"delta":{"added":2}}}' {{.Spacelift}}/simulator/v1/stacks/network-prod/pushes

and see what became of it:

  curl -s -H 'Authorization: Bearer {{.Token}}' {{.Gantry}}/v1/runs

Ctrl-C stops the lab.

`))

func printWelcome(out io.Writer, gantry, temporalUI, spacelift string) {
	var text bytes.Buffer
	_ = welcome.Execute(&text, map[string]any{
		"Gantry": gantry, "TemporalUI": temporalUI, "Spacelift": spacelift,
		"Token": labToken, "People": labPeople, "Secret": labWebhookSecret, "Account": labAccount,
	})
	// At once, so that no log line comes in between. An error means that nobody reads.
	_, _ = out.Write(text.Bytes())
}
