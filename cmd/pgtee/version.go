package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
)

type versionCommand struct{}

func (*versionCommand) Run(_ context.Context, term terminal) error {
	fmt.Fprintln(term.out, versionLine())
	return nil
}

// commit is set by the linker (-X main.commit=…) if the Go tool finds no repository, as in an image.
var commit string

func versionLine() string {
	return fmt.Sprintf("pgtee %s, %s, %s/%s", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// version returns the module's version and the commit from which it was built, as recorded by the Go tool.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown)"
	}
	text := info.Main.Version
	if commit != "" {
		return text + " " + commit
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" && len(setting.Value) >= 12 {
			text += " " + setting.Value[:12]
		}
	}
	return text
}
