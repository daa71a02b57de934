package config

import "errors"

// Read reads a configuration that need not be valid.
func Read(file string, environ []string, flags map[string]string) (Loaded, error) {
	loaded := read(file, environ, flags)
	return loaded, errors.Join(loaded.unread...)
}

func (l Loaded) Mistakes() error       { return l.mistakes(false) }
func (l Loaded) MistakesShared() error { return l.mistakes(true) }
