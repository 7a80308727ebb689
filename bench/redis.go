package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// startRedis starts a Redis server of one's own on a Unix socket: with its stock settings, but without saving to disk,
// which is what a manager does as well. Further arguments are options of redis-server. It returns a client with the
// stock settings of go-redis, and what ends both.
//
// Where there is no redis-server, the error says so, and the rows beside it are not measured.
func startRedis(ctx context.Context, more ...string) (_ *redis.Client, stop func(), err error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, nil, missing("redis-server is not installed")
	}
	dir, err := os.MkdirTemp("", "bench-redis-")
	if err != nil {
		return nil, nil, err
	}
	socket := filepath.Join(dir, "s")
	arguments := append([]string{"--port", "0", "--unixsocket", socket, "--dir", dir, "--save", "", "--appendonly", "no"}, more...)
	server := exec.Command(program, arguments...)
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := server.Start(); err != nil {
		os.RemoveAll(dir)
		return nil, nil, err
	}
	gone := make(chan error, 1)
	go func() { gone <- server.Wait() }()
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: socket})
	stop = func() {
		client.Close()
		server.Process.Kill()
		<-gone
		os.RemoveAll(dir)
	}
	for patience := time.Now().Add(10 * time.Second); ; {
		said := client.Ping(ctx).Err()
		if said == nil {
			return client, stop, nil
		}
		select {
		case err := <-gone:
			gone <- err
			stop()
			return nil, nil, fmt.Errorf("redis-server ended at once: %w", err)
		case <-ctx.Done():
			stop()
			return nil, nil, ctx.Err()
		case <-time.After(10 * time.Millisecond): // there is nothing to wait for: it tells nobody that it listens
		}
		if time.Now().After(patience) {
			stop()
			return nil, nil, errors.Join(errors.New("redis-server does not answer"), said)
		}
	}
}
