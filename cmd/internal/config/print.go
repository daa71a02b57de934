package config

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/tabwriter"
)

// Print writes every value and where it came from, with secrets left out.
func (l Loaded) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "SETTING\tVALUE\tFROM")
	scalars := values(reflect.ValueOf(l.Config), "")
	for _, s := range settings(reflect.TypeFor[Config](), "") {
		if value, ok := scalars[s.Name]; ok {
			fmt.Fprintf(t, "%s\t%s\t%s\n", s.Name, value, l.Origins[s.Name])
		}
	}
	for i, a := range l.Accounts {
		at := fmt.Sprintf("accounts[%d].", i)
		for _, v := range [][2]string{
			{"name", a.Name}, {"endpoint", a.Endpoint}, {"apiKeyId", a.APIKeyID},
			{"apiKeySecret", redacted(a.APIKeySecret)}, {"apiKeySecretFile", a.APIKeySecretFile},
			{"webhookSecrets", redacted(a.WebhookSecrets...)}, {"webhookSecretFiles", strings.Join(a.WebhookSecretFiles, ", ")},
			{"secretHeader", a.SecretHeader}, {"secretHeaderValue", redacted(a.SecretHeaderValue)}, {"secretHeaderFile", a.SecretHeaderFile},
		} {
			if v[1] != "" {
				fmt.Fprintf(t, "%s%s\t%s\t%s\n", at, v[0], v[1], l.Origins["accounts"])
			}
		}
	}
	for i, token := range l.Tokens {
		fmt.Fprintf(t, "tokens[%d]\t%s (%s)\t%s\n", i, token.Name, token.Role, l.Origins["tokens"])
	}
	return t.Flush()
}

func redacted(secrets ...string) string {
	var all []string
	for _, s := range secrets {
		if s != "" {
			all = append(all, "(set)")
		}
	}
	return strings.Join(all, ", ")
}
