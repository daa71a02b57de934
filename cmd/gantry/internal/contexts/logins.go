package contexts

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// Logins are the sign-ins of gantry login, by address of Gantry.
type Logins map[string]Login

// Login is a sign-in at an issuer.
type Login struct {
	Issuer  string    `json:"issuer"`
	Client  string    `json:"client"`
	Scopes  []string  `json:"scopes,omitempty"`
	Token   string    `json:"token"`
	Refresh string    `json:"refresh,omitempty"`
	Expires time.Time `json:"expires"`
}

const loginsFile = "logins.json"

// ReadLogins returns the sign-ins. It refuses a file that others may read.
func ReadLogins() (Logins, error) {
	name, err := file(loginsFile)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Logins{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read sign-ins: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("read sign-ins: others may read %s; run chmod 600 on it, and sign in again if they may have", name)
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read sign-ins: %w", err)
	}
	all := Logins{}
	if err := json.Unmarshal(content, &all); err != nil {
		return nil, fmt.Errorf("read sign-ins: %s: %w; remove it and run gantry login", name, err)
	}
	return all, nil
}

// EditLogins changes the sign-ins.
func EditLogins(edit func(Logins)) error {
	all, err := ReadLogins()
	if err != nil {
		return err
	}
	edit(all)
	content, err := json.MarshalIndent(all, "", "  ")
	if err == nil {
		err = replace(loginsFile, content)
	}
	if err != nil {
		return fmt.Errorf("keep sign-in: %w", err)
	}
	return nil
}
