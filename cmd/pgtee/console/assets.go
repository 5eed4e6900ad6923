package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed assets/*.js assets/*.css assets/*.svg
var assetFiles embed.FS

// asset is a file for browsers. Its URL contains its hash, so that a browser requests it only once, and a new version immediately.
type asset struct {
	body, packed []byte
	kind, hash   string
}

var assetKinds = map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}

var loadedAssets = loadAssets()

func loadAssets() map[string]asset {
	list := map[string]asset{}
	files, err := fs.ReadDir(assetFiles, "assets")
	if err != nil {
		panic(err)
	}
	for _, file := range files {
		body, err := assetFiles.ReadFile("assets/" + file.Name())
		if err != nil {
			panic(err)
		}
		var packed bytes.Buffer
		w, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression)
		w.Write(body)
		w.Close()
		list[file.Name()] = asset{body, packed.Bytes(), assetKinds[path.Ext(file.Name())], fmt.Sprintf("%x", sha256.Sum256(body))[:12]}
	}
	return list
}

// assetPath returns the URL of an asset.
func assetPath(name string) (string, error) {
	a, known := loadedAssets[name]
	if !known {
		return "", fmt.Errorf("no asset %s", name)
	}
	return "/assets/" + name + "?" + a.hash, nil
}

// assets serves the assets. They are public, since they contain no data.
func assets() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, known := loadedAssets[r.PathValue("name")]
		if !known {
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		h.Set("Content-Type", a.kind)
		h.Set("Vary", "Accept-Encoding")
		h.Set("Cache-Control", "no-cache")
		if r.URL.RawQuery == a.hash {
			h.Set("Cache-Control", "private, max-age=31536000, immutable")
		}
		body := a.body
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			h.Set("Content-Encoding", "gzip")
			body = a.packed
		}
		w.Write(body)
	})
}
