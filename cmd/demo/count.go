package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
)

// countFlag adds a flag for a whole number that is not too small for anything to be seen.
func countFlag(cmd *cobra.Command, n *int, name string, least int, usage string) {
	cmd.Flags().Var(&count{n, least}, name, usage)
}

type count struct {
	n     *int
	least int
}

func (c *count) String() string {
	if c.n == nil { // of the zero value, with which the flags' defaults are compared
		return ""
	}
	return strconv.Itoa(*c.n)
}

func (c *count) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("%q is not a whole number", text)
	}
	if n < c.least {
		return fmt.Errorf("at least %d is needed", c.least)
	}
	*c.n = n
	return nil
}

func (c *count) Type() string { return "int" }
