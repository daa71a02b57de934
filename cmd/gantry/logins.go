package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// logins are the sign-ins of gantry login, by address of Gantry.
type logins map[string]savedLogin

// savedLogin is a sign-in at an issuer.
type savedLogin struct {
	Issuer  string    `json:"issuer"`
	Client  string    `json:"client"`
	Scopes  []string  `json:"scopes,omitempty"`
	Token   string    `json:"token"`
	Refresh string    `json:"refresh,omitempty"`
	Expires time.Time `json:"expires"`
}

// loginsFile returns the name of the file of sign-ins.
func loginsFile() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find your configuration folder: %w", err)
	}
	return filepath.Join(dir, "gantry", "logins.json"), nil
}

// readLogins returns the sign-ins. It refuses a file that others may read.
func readLogins() (logins, error) {
	name, err := loginsFile()
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return logins{}, nil
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
	all := logins{}
	if err := json.Unmarshal(content, &all); err != nil {
		return nil, fmt.Errorf("read sign-ins: %s: %w; remove it and run gantry login", name, err)
	}
	return all, nil
}

// editLogins changes the sign-ins. The file is replaced in one step.
func editLogins(edit func(logins)) error {
	all, err := readLogins()
	if err != nil {
		return err
	}
	edit(all)
	name, err := loginsFile()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return fmt.Errorf("keep sign-in: %w", err)
	}
	content, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return fmt.Errorf("keep sign-in: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".logins-*") // with mode 0600
	if err != nil {
		return fmt.Errorf("keep sign-in: %w", err)
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("keep sign-in: %w", err)
	}
	return nil
}
