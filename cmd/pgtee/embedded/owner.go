package embedded

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// owner is the user as which a server process runs, if it is not the current one. PostgreSQL refuses root, and initdb refuses a uid without a passwd
// entry.
type owner struct {
	uid, gid int
}

// unprivilegedOwner returns nil for a normal user, and for root the first existing one of postgres and nobody.
func unprivilegedOwner() (*owner, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		account, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.Atoi(account.Uid)
		gid, gidErr := strconv.Atoi(account.Gid)
		if uidErr == nil && gidErr == nil && uid != 0 {
			return &owner{uid: uid, gid: gid}, nil
		}
	}
	return nil, fmt.Errorf("PostgreSQL does not run as root, and there is no user postgres or nobody: run as a normal user")
}

func (o *owner) credential() *syscall.Credential {
	if o == nil {
		return nil
	}
	return &syscall.Credential{Uid: uint32(o.uid), Gid: uint32(o.gid)}
}

// own makes the owner the owner of path.
func (o *owner) own(path string) error {
	if o == nil {
		return nil
	}
	return os.Chown(path, o.uid, o.gid)
}

// reach checks that the owner may traverse every directory above path.
func (o *owner) reach(path string) error {
	if o == nil {
		return nil
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if info.Mode().Perm()&0o001 == 0 && ok && int(stat.Uid) != o.uid {
			return fmt.Errorf("root gives PostgreSQL to user id %d, who may not enter %s: choose another folder, or run as a normal user", o.uid, dir)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}
