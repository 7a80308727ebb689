package manager_test

import (
	"context"
	"iter"
	"net"

	"github.com/go-multiproc/multiproc/manager"
)

// The declarations that programs outside are compiled against.
var (
	_ func(manager.Options) (*manager.Manager, error)                                  = manager.Start
	_ func(context.Context, string, string, manager.Options) (*manager.Manager, error) = manager.Connect
	_ func(net.Listener, manager.Options) error                                        = manager.Serve
	_ func(*manager.Manager) net.Addr                                                  = (*manager.Manager).Addr
	_ func(*manager.Manager, context.Context) (manager.Stats, error)                   = (*manager.Manager).Stats
	_ func(*manager.Manager, context.Context, string) error                            = (*manager.Manager).Remove
	_ func(*manager.Manager, context.Context) error                                    = (*manager.Manager).Shutdown
	_ func(*manager.Manager) error                                                     = (*manager.Manager).Close
	_ func(*manager.Manager) (*manager.Dict[string, int], error)                       = manager.NewDict[string, int]
	_ func(*manager.Manager, string) (*manager.Dict[string, int], error)               = manager.OpenDict[string, int]
	_ func(*manager.Dict[string, int], context.Context, string) (int, bool, error)     = (*manager.Dict[string, int]).Get
	_ func(*manager.Dict[string, int], context.Context, string, int) error             = (*manager.Dict[string, int]).Set
	_ func(*manager.Dict[string, int], context.Context, string) (bool, error)          = (*manager.Dict[string, int]).Delete
	_ func(*manager.Dict[string, int], context.Context) (int, error)                   = (*manager.Dict[string, int]).Len
	_ func(*manager.Dict[string, int], context.Context) iter.Seq2[string, int]         = (*manager.Dict[string, int]).All
	_ func(*manager.Dict[string, int], context.Context) iter.Seq[string]               = (*manager.Dict[string, int]).Keys
	_ func(*manager.Dict[string, int], context.Context) iter.Seq[int]                  = (*manager.Dict[string, int]).Values
	_ func(*manager.Dict[string, int], context.Context) (map[string]int, error)        = (*manager.Dict[string, int]).Snapshot
	_ func(*manager.Manager) (*manager.List[int], error)                               = manager.NewList[int]
	_ func(*manager.Manager, string) (*manager.List[int], error)                       = manager.OpenList[int]
	_ func(*manager.List[int], context.Context, ...int) error                          = (*manager.List[int]).Append
	_ func(*manager.List[int], context.Context, int) (int, error)                      = (*manager.List[int]).Get
	_ func(*manager.List[int], context.Context, int, int) error                        = (*manager.List[int]).Set
	_ func(*manager.List[int], context.Context, int) (int, error)                      = (*manager.List[int]).Pop
	_ func(*manager.List[int], context.Context, int, int) error                        = (*manager.List[int]).Insert
	_ func(*manager.List[int], context.Context) (int, error)                           = (*manager.List[int]).Len
	_ func(*manager.List[int], context.Context) ([]int, error)                         = (*manager.List[int]).Snapshot
	_ func(*manager.List[int], context.Context) iter.Seq2[int, int]                    = (*manager.List[int]).All

	_ func(*manager.Dict[string, int], context.Context, string, func(int, bool) (int, error)) (int, error) = (*manager.Dict[string, int]).Update

	_, _ error = manager.ErrDown, manager.ErrNotFound
)
