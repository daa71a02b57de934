package expression

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for address, want := range map[string]string{
		"aws_db_instance.main":                                      " aws_db_instance main",
		"aws_subnet.private[0]":                                     " aws_subnet private",
		`aws_subnet.private["a.b\"]c"]`:                             " aws_subnet private",
		"module.network.aws_subnet.a":                               "module.network aws_subnet a",
		`module.network["eu.west"].module.x[3].aws_subnet.a["k.z"]`: "module.network.module.x aws_subnet a",
		"module.module.aws_vpc.module":                              "module.module aws_vpc module",
		"data.aws_ami.ubuntu":                                       " aws_ami ubuntu",
		"module.a.data.aws_ami.ubuntu":                              "module.a aws_ami ubuntu",
		"module.network":                                            "",
		"aws_vpc":                                                   "",
		"aws_vpc.a.b":                                               "",
		"aws_vpc.a[":                                                "",
		`aws_vpc.a["x]`:                                             "",
		"aws_vpc.a[0]b":                                             "",
		"aws_vpc.":                                                  "",
		"":                                                          "",
		"urn:pulumi:prod::app::aws:rds/instance:Instance::main": "",
		"deployment/api": "",
	} {
		module, kind, name, ok := parse(address)
		got := module + " " + kind + " " + name
		if !ok {
			got = ""
		}
		if got != want {
			t.Errorf("%s is %q, want %q", address, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`module.network["eu.west"].aws_subnet.private[0]`)
	f.Fuzz(func(t *testing.T, address string) {
		module, kind, name, ok := parse(address)
		if !ok {
			return
		}
		back := strings.TrimPrefix(module+"."+kind+"."+name, ".")
		m, k, n, again := parse(back)
		if !again || m != module || k != kind || n != name {
			t.Errorf("%q is read as %q, which is read as %s %s %s", address, back, m, k, n)
		}
	})
}
