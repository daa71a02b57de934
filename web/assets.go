package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
)

// assetsPath is the path of assets. The name of each changes with its content.
const assetsPath = "/assets/"

//go:embed assets/*.js assets/*.css assets/*.svg
var assetFiles embed.FS

// assets are the files that pages load.
type assets struct {
	names map[string]string // hashed, by the file's name
	files map[string]asset  // by hashed name
}

type asset struct {
	kind           string
	plain, gzipped []byte
}

func loadAssets() (*assets, error) {
	all := &assets{map[string]string{}, map[string]asset{}}
	files, err := fs.ReadDir(assetFiles, "assets")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		content, err := assetFiles.ReadFile("assets/" + f.Name())
		if err != nil {
			return nil, err
		}
		var packed bytes.Buffer
		zip, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression) // the level exists
		_, _ = zip.Write(content)                                    // to memory
		_ = zip.Close()
		sum := sha256.Sum256(content)
		ext := path.Ext(f.Name())
		name := fmt.Sprintf("%s.%s%s", strings.TrimSuffix(f.Name(), ext), hex.EncodeToString(sum[:6]), ext)
		all.names[f.Name()] = name
		all.files[name] = asset{mime.TypeByExtension(ext), content, packed.Bytes()}
	}
	return all, nil
}

// assetAt returns the address of an asset.
func assetAt(ctx context.Context, file string) string {
	v := viewOf(ctx)
	name, ok := v.pages.assets.names[file]
	if !ok {
		panic("no asset " + file) // a template names one that isn't embedded
	}
	return at(ctx, "assets", name)
}

func (a *assets) serve(w http.ResponseWriter, r *http.Request) {
	f, ok := a.files[r.PathValue("name")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Vary", "Accept-Encoding")
	content := f.plain
	if takesGzip(r) {
		h.Set("Content-Encoding", "gzip")
		content = f.gzipped
	}
	_, _ = w.Write(content)
}
