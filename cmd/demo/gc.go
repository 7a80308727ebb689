package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/go-multiproc/multiproc/shm"
)

const gcShort = "remove named objects that no process has open"

func gcCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "gc", Short: gcShort, Args: noArgs,
		Long: `Removes the named objects in /dev/shm whose users have all ended. What a living
process has open, of this user or another, stays.`,
		RunE: func(*cobra.Command, []string) error {
			removed, err := shm.Reap()
			if asJSON {
				return errors.Join(err, json.NewEncoder(os.Stdout).Encode(append([]shm.Info{}, removed...)))
			}
			for _, i := range removed {
				fmt.Printf("removed %s (%s, %d bytes)\n", i.Name, i.Kind, i.Bytes)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON for programs")
	return cmd
}

// gcTour leaves a named object behind, in use and then not.
func gcTour(_ context.Context, s *stage) error {
	// In a directory of its own: what others have left in /dev/shm may still be wanted.
	dir, err := os.MkdirTemp("", "demo-gc")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	in := shm.Options{Dir: dir}
	seg, err := shm.Create("left", 100, in)
	if err != nil {
		return err
	}
	gone := func() (bool, error) {
		if _, err := shm.Reap(in); err != nil {
			return false, err
		}
		_, err := shm.Inspect("left", in)
		if errors.Is(err, fs.ErrNotExist) {
			return true, nil
		}
		return false, err
	}
	inUse, err := gone()
	if err != nil {
		return err
	}
	if err := seg.Close(); err != nil {
		return err
	}
	unused, err := gone()
	s.check(!inUse && unused, "gc leaves what somebody has open, and removes what nobody has")
	return err
}
