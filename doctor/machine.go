package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.temporal.io/sdk/client"

	"github.com/gantryhq/gantry/config"
)

// Machine is a Gantry's machine as its operator sees it: the configuration, and what it
// connects to. The checks keep what they learned in it.
type Machine struct {
	Loaded  config.Loaded
	LoadErr error  // why the configuration can't be used; nil if it can
	URL     string // of the webhook; empty if not given
	Webhook string // its name in Spacelift
	Policy  string // the policy's
	Version string // of this program

	// Token returns the token for the API of the Gantry at URL; an error leaves out what
	// takes one.
	Token func() (string, error)

	// Startable returns what keeps gantry serve from starting with a configuration.
	Startable func(config.Config) error

	// Neighbours returns accounts that another Gantry serves in the namespace.
	Neighbours func(context.Context, client.Client, []config.Account) ([]string, error)

	temporal  client.Client // nil until it is known to answer
	namespace string        // "" until it is known to exist
}

// Close closes the connection to Temporal.
func (p *Machine) Close() {
	if p.temporal != nil {
		p.temporal.Close()
	}
}

func checkConfiguration(_ context.Context, p *Machine) Finding {
	const fix = "correct it; gantry serve --print-config shows each value and where it comes from"
	err := p.LoadErr
	if err == nil {
		_, err = p.Loaded.TemporalOptions()
		err = errors.Join(err, p.Startable(p.Loaded.Config))
	}
	if err != nil {
		f := fail(fix, "gantry serve would not start with it")
		f.Details = strings.Split(strings.TrimPrefix(err.Error(), "configuration:\n"), "\n")
		return f
	}
	names := make([]string, len(p.Loaded.Accounts))
	for i, a := range p.Loaded.Accounts {
		names[i] = a.Name
	}
	if warnings := p.Loaded.Warnings(); len(warnings) > 0 {
		f := warn(fix, "gantry serve starts with it, but some of it has no effect")
		f.Details = warnings
		return f
	}
	return ok("accounts: %s", strings.Join(names, ", "))
}

func checkInbox(_ context.Context, p *Machine) Finding {
	if p.LoadErr != nil || p.Loaded.Data == "" || p.Loaded.Role == config.RoleWorker {
		return leftOut
	}
	dir, err := filepath.Abs(p.Loaded.Data)
	if err != nil {
		return fail("set data to a folder", "%s: %s", p.Loaded.Data, err)
	}
	const fix = "make it writable for the user of gantry serve, or set data to another folder"
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		above := existingFolder(filepath.Dir(dir))
		if err := tryWriting(above); err != nil {
			return fail(fix, "%s doesn't exist and can't be created in %s: %s", dir, above, err)
		}
		return ok("%s doesn't exist yet; gantry serve creates it", dir)
	case err != nil:
		return fail(fix, "%s", err)
	case !info.IsDir():
		return fail("set data to a folder", "%s is not a folder", dir)
	}
	if err := tryWriting(dir); err != nil {
		return fail(fix, "%s can't be written: %s", dir, err)
	}
	return ok("%s can be written", dir)
}

func existingFolder(dir string) string {
	for {
		if info, err := os.Stat(dir); err == nil && info.IsDir() || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// tryWriting does what the inbox does: write a file and wait for the disk.
func tryWriting(dir string) error {
	f, err := os.CreateTemp(dir, ".gantry-doctor-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString("written by gantry doctor\n")
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}

// origin returns where a setting comes from, for people.
func origin(loaded config.Loaded, setting string) string {
	switch from := loaded.Origins[setting]; from {
	case "":
		return setting
	case "default":
		return "by default"
	default:
		return "from " + from
	}
}
