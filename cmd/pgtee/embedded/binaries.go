package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// oldestMajor is the oldest PostgreSQL version that pgtee supports; newestMajor is the one that is downloaded if the caller has no preference.
const (
	oldestMajor = 14
	newestMajor = 18
)

// fetchable contains the builds that the embedded-postgres library can download, by major version.
var fetchable = map[int]embeddedpostgres.PostgresVersion{
	14: embeddedpostgres.V14,
	15: embeddedpostgres.V15,
	16: embeddedpostgres.V16,
	17: embeddedpostgres.V17,
	18: embeddedpostgres.V18,
}

// binaries is one set of server programs: only initdb and postgres are needed.
type binaries struct {
	dir   string
	major int
}

func (b binaries) path(program string) string { return filepath.Join(b.dir, program) }

// findBinaries returns the installed programs of a major version, or downloads them. Major 0 means the newest installed version, 14 or newer; it
// downloads only if there is none.
func findBinaries(ctx context.Context, major int) (binaries, error) {
	if major != 0 && fetchable[major] == "" {
		return binaries{}, fmt.Errorf("PostgreSQL %d is not known: choose %d to %d", major, oldestMajor, newestMajor)
	}
	best := binaries{}
	for _, dir := range installedDirs(ctx) {
		found, ok := inspect(ctx, dir)
		if !ok || found.major < oldestMajor || (major != 0 && found.major != major) {
			continue
		}
		if found.major > best.major {
			best = found
		}
	}
	if best.major != 0 {
		return best, nil
	}
	if major == 0 {
		major = newestMajor
	}
	return fetch(major)
}

// installedDirs returns the directories in which packages and pg_config place server programs.
func installedDirs(ctx context.Context) []string {
	var dirs []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/opt/postgresql@*/bin", "/opt/homebrew/opt/postgresql@*/bin"} {
		found, _ := filepath.Glob(pattern) // the only error is a malformed pattern
		dirs = append(dirs, found...)
	}
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	return dirs
}

// inspect reports whether dir contains the programs: a client-only installation has neither postgres nor initdb.
func inspect(ctx context.Context, dir string) (binaries, bool) {
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return binaries{}, false
	}
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return binaries{}, false
	}
	major, ok := parseMajor(string(out))
	return binaries{dir: dir, major: major}, ok
}

// parseMajor parses "postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)".
func parseMajor(version string) (int, bool) {
	_, rest, ok := strings.Cut(version, "(PostgreSQL) ")
	if !ok {
		return 0, false
	}
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(rest)
	}
	major, err := strconv.Atoi(rest[:end])
	return major, err == nil
}

// fetch downloads the library's build of a major version, once per user of the machine.
func fetch(major int) (binaries, error) {
	cache, err := cacheDir()
	if err != nil {
		return binaries{}, err
	}
	version := fetchable[major]
	final := filepath.Join(cache, "postgres-"+string(version))
	found := binaries{dir: filepath.Join(final, "bin"), major: major}
	if _, err := os.Stat(found.path("postgres")); err == nil {
		return found, nil
	}
	// The server may run as another user, who must be able to read the programs.
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return binaries{}, fmt.Errorf("make the cache folder: %w", err)
	}
	scratch, err := os.MkdirTemp(cache, "fetch-*")
	if err != nil {
		return binaries{}, fmt.Errorf("make a folder in the cache: %w", err)
	}
	defer os.RemoveAll(scratch)
	extracted := filepath.Join(scratch, "postgres")
	if err := download(version, cache, scratch, extracted); err != nil {
		return binaries{}, err
	}
	// Another process may have been faster; its programs are equivalent.
	if err := os.Rename(extracted, final); err != nil && !errors.Is(err, os.ErrExist) {
		if _, statErr := os.Stat(found.path("postgres")); statErr != nil {
			return binaries{}, fmt.Errorf("move the PostgreSQL programs into the cache: %w", err)
		}
	}
	return found, nil
}

// download uses Start of the library, because nothing else in it downloads and extracts the archive. Start would then run a server, which refuses root
// and would outlive this process; an encoding that initdb rejects makes Start fail before that.
func download(version embeddedpostgres.PostgresVersion, cache, scratch, extracted string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	err = embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(version).
		Port(uint32(port)).
		CachePath(cache).
		RuntimePath(filepath.Join(scratch, "runtime")).
		BinariesPath(extracted).
		Encoding("none")).Start()
	if _, statErr := os.Stat(filepath.Join(extracted, "bin", "postgres")); statErr != nil {
		return fmt.Errorf("fetch PostgreSQL %s (or install PostgreSQL %d or newer): %w", version, oldestMajor, err)
	}
	return nil
}

// cacheDir returns where downloaded programs are kept. The user as which the server runs cannot read root's own cache.
func cacheDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/cache/pgtee", nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder (set HOME or XDG_CACHE_HOME): %w", err)
	}
	return filepath.Join(dir, "pgtee"), nil
}
