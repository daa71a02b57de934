package config_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/config"
)

// injected lists the variables that Kubernetes sets in every pod beside a Service,
// as the kubelet builds them (pkg/kubelet/envvars/envvars.go).
func injected(service, ip string) []string {
	prefix := strings.ToUpper(strings.ReplaceAll(service, "-", "_"))
	host := ip
	if strings.Contains(ip, ":") {
		host = "[" + ip + "]"
	}
	return []string{
		prefix + "_SERVICE_HOST=" + ip, prefix + "_SERVICE_PORT=80", prefix + "_SERVICE_PORT_HTTP=80", prefix + "_SERVICE_PORT_WEB_UI=8080",
		prefix + "_PORT=tcp://" + host + ":80",
		prefix + "_PORT_80_TCP=tcp://" + host + ":80", prefix + "_PORT_80_TCP_PROTO=tcp", prefix + "_PORT_80_TCP_PORT=80", prefix + "_PORT_80_TCP_ADDR=" + ip,
		prefix + "_PORT_53_UDP=udp://" + host + ":53", prefix + "_PORT_53_UDP_PROTO=udp", prefix + "_PORT_53_UDP_PORT=53", prefix + "_PORT_53_UDP_ADDR=" + ip,
		prefix + "_PORT_9_SCTP=sctp://" + host + ":9", prefix + "_PORT_9_SCTP_PROTO=sctp", prefix + "_PORT_9_SCTP_PORT=9", prefix + "_PORT_9_SCTP_ADDR=" + ip,
	}
}

// Kubernetes' variables of a Service whose name begins with gantry aren't settings.
func TestVariablesOfServices(t *testing.T) {
	for _, service := range []string{"gantry", "gantry-api", "gantry-log", "gantry-inbox-concurrency", "gantry-8080"} {
		for _, ip := range []string{"10.96.14.3", "fd00:10:96::a1"} {
			loaded, err := config.Read("", append(injected(service, ip), "GANTRY_LOG_LEVEL=debug"), nil)
			if err != nil {
				t.Errorf("%s at %s: %v", service, ip, err)
			} else if loaded.Log.Level != "debug" {
				t.Errorf("%s at %s: log.level is %q", service, ip, loaded.Log.Level)
			}
		}
	}
}

// A setting with such a name would be lost.
func TestNoSettingLooksLikeAVariableOfAService(t *testing.T) {
	for _, s := range config.Settings() {
		if regexp.MustCompile(`_SERVICE_HOST$|_SERVICE_PORT(_|$)|_PORT$|_PORT_\d`).MatchString(s.Variable) {
			t.Errorf("%s has the variable %s", s.Name, s.Variable)
		}
	}
}

// Other variables are still mistakes, even if they resemble those of a Service.
func TestUnknownVariablesAreRefused(t *testing.T) {
	for _, variable := range []string{
		"GANTRY_PORT=8080", "GANTRY_PORT=", "GANTRY_LISTEN_PORT=8080", "GANTRY_SERVICE=gantry", "GANTRY_SERVICE_NAME=gantry", "GANTRY_SERVICE_HOST=here",
		"GANTRY_SERVICE_PORT=http", "GANTRY_PORT_80=80", "GANTRY_PORT_80_TCP=80", "GANTRY_PORT_80_TCP_NAME=http", "GANTRY_PORT_80_TCP_ADDR=here",
		"GANTRY_PORT_80_HTTP=tcp://10.96.14.3:80", "GANTRY_PORTS=tcp://10.96.14.3:80", "GANTRY_TEMPORAL_HOST=10.96.14.3", "GANTRYX_INBOX=1s:", "GANTRY_LISSEN=:1",
	} {
		name, _, _ := strings.Cut(variable, "=")
		_, err := config.Read("", []string{variable}, nil)
		if wrong := strings.HasPrefix(name, "GANTRY_"); wrong != (err != nil) || wrong && !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", variable, err)
		}
	}
}
