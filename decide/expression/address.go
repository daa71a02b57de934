package expression

import "strings"

// parse returns the parts of an address of Terraform's, such as
// module.network["eu.west"].aws_subnet.private[0]; ok is false for any other.
// (https://developer.hashicorp.com/terraform/cli/state/resource-addressing)
func parse(address string) (module, kind, name string, ok bool) {
	steps, ok := split(address)
	if !ok {
		return "", "", "", false
	}
	var modules []string
	for len(steps) >= 2 && steps[0] == "module" {
		modules = append(modules, "module."+steps[1])
		steps = steps[2:]
	}
	if len(steps) == 3 && steps[0] == "data" {
		steps = steps[1:]
	}
	if len(steps) != 2 {
		return "", "", "", false
	}
	return strings.Join(modules, "."), steps[0], steps[1], true
}

// split returns the steps of an address without their indexes.
func split(address string) (steps []string, ok bool) {
	for address != "" {
		end := strings.IndexAny(address, ".[")
		if end < 0 {
			end = len(address)
		}
		step := address[:end]
		if !identifier(step) {
			return nil, false
		}
		steps, address = append(steps, step), address[end:]
		if strings.HasPrefix(address, "[") {
			if address, ok = afterIndex(address[1:]); !ok {
				return nil, false
			}
		}
		rest, more := strings.CutPrefix(address, ".")
		if address != "" && !more || more && rest == "" {
			return nil, false
		}
		address = rest
	}
	return steps, len(steps) > 0
}

// afterIndex returns what follows the bracket that ends an index: a number, or a text
// in quotes.
func afterIndex(s string) (rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		number, rest, ok := strings.Cut(s, "]")
		return rest, ok && number != "" && strings.Trim(number, "0123456789") == ""
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return strings.CutPrefix(s[i+1:], "]")
		}
	}
	return "", false
}

func identifier(s string) bool {
	for i, r := range s {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= 0x80
		if !letter && (i == 0 || r != '-' && (r < '0' || r > '9')) {
			return false
		}
	}
	return s != ""
}

// under reports whether a resource is in a module, or in one below it, before or after
// the plan.
func (r Resource) under(module string) bool {
	before, _, _, _ := parse(r.PreviousAddress)
	in := func(m string) bool { return m == module || strings.HasPrefix(m, module+".") }
	return in(r.Module) || r.PreviousAddress != "" && in(before)
}
