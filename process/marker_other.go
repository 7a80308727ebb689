//go:build !linux

package process

func fromParent(int) bool { return true }
