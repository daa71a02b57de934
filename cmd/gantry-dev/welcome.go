package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
)

var welcome = template.Must(template.New("welcome").Parse(`
Gantry's lab is ready.

  Pages         {{.Gantry}}/      sign in with a token: {{.Token}}, or an approver's
  Swagger UI    {{.Gantry}}/docs
  API           {{.Gantry}}/v1/runs
  Webhook       {{.Gantry}}/webhook      secret: {{.Secret}}
  Temporal UI   {{.TemporalUI}}
  Spacelift     {{.Spacelift}}      simulated, account {{.Account}}
  Messages      {{.Spacelift}}/messages      as Slack would show them
  Approvers     {{.People}}      token: gantry_<name>

Paste this into another terminal:

{{with .Programs}}  export PATH={{.}}:"$PATH"
{{end}}  export GANTRY_URL={{.Gantry}} GANTRY_TOKEN={{.Token}}
  export SIMULATOR_URL={{.Spacelift}} TEMPORAL_ADDRESS={{.Temporal}}

Then push a change to a stack that Gantry confirms automatically, and watch it:

  gantry runs watch "$(gantry-dev push network-prod --add 2)"

Ctrl-C stops the lab.

`))

// addresses are the URLs that the lab serves on, and Temporal's host and port.
type addresses struct{ gantry, temporalUI, spacelift, temporal string }

func printWelcome(out io.Writer, at addresses) {
	var text bytes.Buffer
	_ = welcome.Execute(&text, map[string]any{
		"Gantry": at.gantry, "TemporalUI": at.temporalUI, "Spacelift": at.spacelift, "Temporal": at.temporal, "Programs": programs(),
		"Token": labToken, "People": strings.Join(labPeople, ", "), "Secret": labWebhookSecret, "Account": labAccount,
	})
	// In one write, so that no log line comes in between. A failed write means
	// that the output is closed.
	_, _ = out.Write(text.Bytes())
}

// programs returns the folder of this program, quoted for a shell, if gantry is in
// it and PATH doesn't lead there yet.
func programs() string {
	lab, err := os.Executable()
	if err != nil {
		return ""
	}
	folder := filepath.Dir(lab)
	product := filepath.Join(folder, "gantry")
	if _, err := os.Stat(product); err != nil {
		return ""
	}
	if found, err := exec.LookPath("gantry"); err == nil && found == product {
		return ""
	}
	return quoted(folder)
}

// quoted returns text as one word of a shell.
func quoted(text string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+", r)
	}
	if text != "" && strings.TrimFunc(text, plain) == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
