package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// TestConsoleCertificate: a certificate that cannot be used prevents the start.
func TestConsoleCertificate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cert.pem")
	if err := os.WriteFile(file, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, flags := range []consoleFlags{{ConsoleCert: file, ConsoleKey: file}, {ConsoleCert: file}} {
		_, err := serviceFlags{Console: "127.0.0.1:0", consoleFlags: flags}.addConsole(nil, nil, nil, cluster{}, zap.NewNop())
		if code := exitCode(err); code != exitUsage || !strings.Contains(err.Error(), "--console-cert") {
			t.Errorf("exit code %d, %v", code, err)
		}
	}
}

// TestConsoleFails: the other actors go on, and the log says why there is no console.
func TestConsoleFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logged := observer.New(zapcore.ErrorLevel)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		console := consoleActor(func(context.Context) error { return errors.New("accept: too many open files") }, zap.New(core))
		var stopped []string
		go func() { ended <- runGroup(ctx, time.Second, until("proxy", 0, &stopped), console) }()
		synctest.Wait()
		select {
		case err := <-ended:
			t.Fatalf("the group has ended: %v", err)
		default:
		}
		if entries := logged.All(); len(entries) != 1 || entries[0].ContextMap()["error"] != "accept: too many open files" {
			t.Errorf("the log says %v", entries)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
