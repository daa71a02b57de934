package folder_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/gantryhq/gantry/folder"
)

// A file is replaced as a whole, with its mode, and nothing is left beside it; a refused
// one leaves the old file.
func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "note")
	refused := errors.New("refused")
	for _, tc := range []struct {
		content string
		mode    os.FileMode
		accept  func(string) error
		err     error
		want    string
	}{
		{content: "first", mode: 0o600, want: "first"},
		{content: "second", mode: 0o640, want: "second", accept: func(written string) error {
			old, err := os.ReadFile(path)
			fresh, readErr := os.ReadFile(written)
			if string(old) != "first" || string(fresh) != "second" {
				t.Errorf("before it is accepted: %q, and %q beside it", old, fresh)
			}
			return errors.Join(err, readErr)
		}},
		{content: "third", mode: 0o600, want: "second", accept: func(string) error { return refused }, err: refused},
	} {
		if err := folder.Replace(path, []byte(tc.content), tc.mode, tc.accept); !errors.Is(err, tc.err) {
			t.Errorf("%s: %v, want %v", tc.content, err, tc.err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != tc.want {
			t.Errorf("%s: the file holds %q (%v)", tc.content, got, err)
		}
		info, err := os.Stat(path)
		if err != nil || tc.err == nil && info.Mode().Perm() != tc.mode {
			t.Errorf("%s: the mode is %v (%v)", tc.content, info.Mode(), err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("%s: the folder holds %v (%v)", tc.content, entries, err)
		}
	}
	if err := folder.Replace(filepath.Join(dir, "missing", "note"), nil, 0o600, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a folder: %v", err)
	}
}
