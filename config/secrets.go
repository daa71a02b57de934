package config

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// recheck is the time between two checks of a secret's file. A rotated secret
// counts after at most this time.
const recheck = time.Second

// Secret is a value given as text or in a file that may change.
type Secret struct {
	file     string
	log      *slog.Logger
	current  atomic.Pointer[secretVersion]
	checking atomic.Bool
}

type secretVersion struct {
	value    string
	modified time.Time
	size     int64
	checked  time.Time
}

// NewSecret returns a secret with a fixed value, or one that follows the file if
// file isn't empty. It returns an error if the file is empty or can't be read.
func NewSecret(value, file string, log *slog.Logger) (*Secret, error) {
	s := &Secret{file: file, log: log}
	if file == "" {
		s.current.Store(&secretVersion{value: trimLineEnd(value)})
		return s, nil
	}
	v, err := readSecret(file)
	if err != nil {
		return nil, err
	}
	s.current.Store(v)
	return s, nil
}

// Value returns the current secret. If the file can't be read any more, the last
// value remains, and each check logs the error.
func (s *Secret) Value() string {
	v := s.current.Load()
	if s.file == "" || time.Since(v.checked) < recheck || !s.checking.CompareAndSwap(false, true) {
		return v.value
	}
	defer s.checking.Store(false)
	info, err := os.Stat(s.file)
	if err == nil && info.ModTime().Equal(v.modified) && info.Size() == v.size {
		same := *v
		same.checked = time.Now()
		s.current.Store(&same)
		return v.value
	}
	fresh, err := readSecret(s.file)
	if err != nil {
		same := *v
		same.checked = time.Now()
		s.current.Store(&same)
		s.log.Error("secret can't be read again; the last value remains in effect", "file", s.file, "error", err)
		return v.value
	}
	if fresh.value != v.value {
		s.log.Info("secret changed", "file", s.file)
	}
	s.current.Store(fresh)
	return fresh.value
}

func readSecret(file string) (*secretVersion, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("secret file: %w", err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("secret file: %w", err)
	}
	value := trimLineEnd(string(content))
	if value == "" {
		return nil, errors.New("secret file " + file + " is empty")
	}
	return &secretVersion{value: value, modified: info.ModTime(), size: info.Size(), checked: time.Now()}, nil
}
