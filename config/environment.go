package config

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// envPrefix is the prefix of our environment variables.
const envPrefix = "GANTRY_"

// temporalVariables are the variables of Temporal's SDK that are those of settings.
var temporalVariables = map[string]string{"temporal.address": "TEMPORAL_ADDRESS", "temporal.namespace": "TEMPORAL_NAMESPACE"}

// variable returns the environment variable of a setting.
func variable(setting string) string {
	if v := temporalVariables[setting]; v != "" {
		return v
	}
	var b strings.Builder
	b.WriteString(envPrefix)
	for _, r := range setting {
		switch {
		case r == '.':
			b.WriteByte('_')
		case unicode.IsUpper(r):
			b.WriteByte('_')
			b.WriteRune(r)
		default:
			b.WriteRune(unicode.ToUpper(r))
		}
	}
	return b.String()
}

// otherVariables lists the variables that other commands read.
var otherVariables = []string{"GANTRY_CONFIG", "GANTRY_URL", "GANTRY_TOKEN", "GANTRY_TOKEN_FILE"}

// fromEnvironment returns the values in the environment, by setting, and the
// variables that are no setting.
func fromEnvironment(environ []string) (values map[string]string, problems []error) {
	values = map[string]string{}
	known := map[string]string{}
	for _, s := range settings(reflect.TypeFor[Config](), "") {
		if s.Variable != "" {
			known[s.Variable] = s.Name
		}
	}
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		setting, ok := known[name]
		switch {
		case ok && !strings.HasPrefix(name, envPrefix) && value == "": // as if it were not set
			continue
		case !ok && (!strings.HasPrefix(name, envPrefix) || slices.Contains(otherVariables, name) || describesAccount(name)):
			continue
		case !ok && isServiceVariable(name, value):
			continue
		case !ok:
			problems = append(problems, fmt.Errorf("%s: there is no such setting%s; docs/reference/configuration.md lists all", name, meant(name, slices.Collect(maps.Keys(known)))))
			continue
		}
		values[setting] = value
	}
	return values, problems
}

// serviceVariables are those that Kubernetes sets in every pod beside a Service: of
// a Service named gantry, GANTRY_SERVICE_HOST, GANTRY_PORT, GANTRY_PORT_80_TCP_ADDR
// and others, and likewise of gantry-api.
// https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
var serviceVariables = []struct {
	name  *regexp.Regexp
	value func(string) bool
}{
	{regexp.MustCompile(`_SERVICE_HOST$`), isIP},
	{regexp.MustCompile(`_SERVICE_PORT(_[A-Z0-9_]+)?$`), isPort},
	{regexp.MustCompile(`_PORT(_[0-9]+_(TCP|UDP|SCTP))?$`), isEndpoint},
	{regexp.MustCompile(`_PORT_[0-9]+_(TCP|UDP|SCTP)_PROTO$`), isProtocol},
	{regexp.MustCompile(`_PORT_[0-9]+_(TCP|UDP|SCTP)_PORT$`), isPort},
	{regexp.MustCompile(`_PORT_[0-9]+_(TCP|UDP|SCTP)_ADDR$`), isIP},
}

// isServiceVariable reports whether Kubernetes set the variable for a Service. The
// value must fit too, so that a misspelt setting is still refused.
func isServiceVariable(name, value string) bool {
	for _, v := range serviceVariables {
		if v.name.MatchString(name) && v.value(value) {
			return true
		}
	}
	return false
}

func isIP(value string) bool {
	_, err := netip.ParseAddr(value)
	return err == nil
}

func isPort(value string) bool {
	_, err := strconv.ParseUint(value, 10, 16)
	return err == nil
}

func isProtocol(value string) bool { return value == "tcp" || value == "udp" || value == "sctp" }

func isEndpoint(value string) bool {
	protocol, address, _ := strings.Cut(value, "://")
	_, err := netip.ParseAddrPort(address)
	return err == nil && isProtocol(protocol)
}
