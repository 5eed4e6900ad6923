package console

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"
)

// page describes one kind of page.
type page struct {
	Path, Title string
	Menu        bool // it is listed in the menu
	template    string
	data        func(*http.Request, person) (any, error)
}

// pages returns all pages, in the order of the menu. They depend on what runs in this process.
func (c *Console) pages() (list []page) {
	if c.topics != nil {
		list = append(list,
			page{"/live", "Live", true, "live", c.live},
			page{"/row", "Row history", true, "row", c.row},
			page{"/streams", "Streams", true, "streams", c.streams},
			page{"/tables", "Tables", true, "tables", c.tables},
		)
	}
	if c.cfg.Sessions != nil {
		list = append(list, page{"/sessions", "Sessions", true, "sessions", c.sessions})
	}
	if c.topics != nil {
		list = append(list,
			page{"/groups", "Consumer groups", true, "groups", c.groups},
			page{"/ddl", "DDL history", true, "ddl", c.ddl},
			page{"/dead-letters", "Dead letters", true, "deadletters", c.deadLetters},
			page{"/transaction", "Transaction", false, "transaction", c.transaction},
			page{"/session", "Session", false, "playback", c.playback},
			page{"/record", "Record", false, "record", c.record},
			page{"/check", "Check", true, "check", c.check},
		)
	}
	return append(list, page{"/configuration", "Configuration", true, "configuration", c.configuration})
}

// frame contains what the layout shows around a page.
type frame struct {
	Title   string
	Path    string
	Menu    []page
	Streams []Stream
	Stream  string // "" if there is only one stream: URLs then name none
	Who     person
	Version string
	Page    any
	Problem string // shown instead of the page
	Refresh int    // interval in seconds, without JavaScript; 0: never
}

// shownError is an error with the HTTP status that the browser gets.
type shownError struct {
	status int
	text   string
}

func (e shownError) Error() string { return e.text }

func notFound(format string, args ...any) error {
	return shownError{http.StatusNotFound, fmt.Sprintf(format, args...)}
}

func badRequest(format string, args ...any) error {
	return shownError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// pageTime is the time limit for building a page.
const pageTime = 25 * time.Second

// showing returns the handler of a page. Each access is logged with its user.
func (c *Console) showing(p page) func(http.ResponseWriter, *http.Request, person) {
	return func(w http.ResponseWriter, r *http.Request, who person) {
		ctx, cancel := context.WithTimeout(r.Context(), pageTime)
		defer cancel()
		r = r.WithContext(ctx)
		f := c.frame(r, who, p)
		data, err := p.data(r, who)
		c.looked(r, who, data)
		status := http.StatusOK
		if err != nil {
			status = http.StatusServiceUnavailable
			var shown shownError
			if errors.As(err, &shown) {
				status = shown.status
			}
			f.Problem = err.Error()
			render(w, status, "problem", f)
			return
		}
		f.Page = data
		if refreshing, ok := data.(interface{ refresh() int }); ok {
			f.Refresh = refreshing.refresh()
		}
		render(w, status, p.template, f)
	}
}

// looked logs which user looked at what, and at which page, which may be nil. Row values and SQL must not be in the log: a key is logged as its hash,
// which `printf %s KEY | sha256sum` computes for a known key. It is the key as it is in the topic, however it was typed.
func (c *Console) looked(r *http.Request, who person, page any) {
	fields := []zap.Field{zap.String("who", who.Name), zap.Stringer("role", who.Role), zap.String("from", r.RemoteAddr), zap.String("page", r.URL.Path)}
	for name, values := range r.URL.Query() {
		value := cut(strings.Join(values, ","), 256)
		switch name {
		case "key", "text":
			text := strings.Join(values, ",")
			if row, ok := page.(*rowPage); ok && name == "key" {
				text = row.Key
			}
			sum := sha256.Sum256([]byte(text))
			fields = append(fields, zap.String(name+"_sha256", fmt.Sprintf("%x", sum)))
		case "stream", "table", "user", "application", "client", "session", "command", "topic", "partition", "offset", "id", "at", "unattributed", "unverified":
			fields = append(fields, zap.String(name, value))
		}
	}
	c.log.Info("console: looked at", fields...)
}

func (c *Console) frame(r *http.Request, who person, p page) frame {
	f := frame{Title: p.Title, Path: p.Path, Streams: c.cfg.Streams, Who: who, Version: c.cfg.Version}
	for _, p := range c.pages() {
		if p.Menu {
			f.Menu = append(f.Menu, p)
		}
	}
	if len(c.cfg.Streams) > 1 {
		if s, err := c.stream(r); err == nil {
			f.Stream = s.Prefix
		}
	}
	return f
}

// link returns the URL of a page with pairs of name and value; pairs without a value are left out.
func (c *Console) link(path, stream string, pairs ...string) string {
	q := url.Values{}
	if len(c.cfg.Streams) > 1 && stream != "" {
		q.Set("stream", stream)
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

//go:embed pages/*.html
var pageFiles embed.FS

var templates = loadTemplates()

// loadTemplates returns one set for each page: the layout, the shared parts, and the page.
func loadTemplates() map[string]*template.Template {
	shared := template.Must(template.New("").Funcs(functions).ParseFS(pageFiles, "pages/layout.html", "pages/parts.html"))
	sets := map[string]*template.Template{"": shared}
	files, err := pageFiles.ReadDir("pages")
	if err != nil {
		panic(err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(file.Name(), ".html")
		if name == "layout" || name == "parts" {
			continue
		}
		sets[name] = template.Must(template.Must(shared.Clone()).ParseFS(pageFiles, "pages/"+file.Name()))
	}
	return sets
}

// render writes a complete page or an error, never a part of a page, which would be misleading.
func render(w http.ResponseWriter, status int, name string, f frame) {
	var page bytes.Buffer
	if err := templates[name].ExecuteTemplate(&page, "layout", f); err != nil {
		http.Error(w, "pgtee console: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(page.Bytes())
}

// part renders a named part.
func part(name string, data any) (string, error) {
	var text bytes.Buffer
	err := templates[""].ExecuteTemplate(&text, name, data)
	return text.String(), err
}
