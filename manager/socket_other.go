//go:build !linux

package manager

import "net"

// A socket is of no use here: connections are read and written through package net.
type socket struct{}

func (*socket) init(net.Conn)                              {}
func (*socket) usable() bool                               { return false }
func (*socket) read([]byte) (int, error)                   { return 0, nil }
func (*socket) tryRead([]byte) (n int, ok bool, err error) { return 0, false, nil }
func (*socket) tryWrite([]byte) (int, error)               { return 0, nil }
