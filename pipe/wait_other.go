//go:build !linux

package pipe

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-multiproc/multiproc/internal/waitable"
)

type waiter struct{}

func newWaiter([]waitable.Source) (*waiter, error) {
	return nil, fmt.Errorf("pipe: wait: needs epoll: %w", errors.ErrUnsupported)
}

func (w *waiter) close() {}

func (w *waiter) wait(context.Context) ([]int, error) { return nil, errors.ErrUnsupported }
