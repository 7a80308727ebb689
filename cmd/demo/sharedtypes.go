package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/go-multiproc/multiproc/manager"
	"github.com/go-multiproc/multiproc/process"
)

// A ledger is a type of our own that lives in the manager's process. Its methods need no lock: the manager calls them one after
// another.
type ledger struct {
	accounts map[string]int
	entries  int
}

type booking struct {
	From, To string
	Amount   int
}

type balance struct {
	Accounts map[string]int
	Entries  int
	PID      int // where it was counted
}

var errShort = manager.RegisterError(errors.New("not enough money"))

func (l *ledger) book(_ context.Context, b booking) (int, error) {
	if l.accounts[b.From] < b.Amount {
		return l.entries, fmt.Errorf("%s has %d, not %d: %w", b.From, l.accounts[b.From], b.Amount, errShort)
	}
	l.accounts[b.From] -= b.Amount
	l.accounts[b.To] += b.Amount
	l.entries++
	return l.entries, nil
}

// The type and its methods are registered, so that the manager's process, which runs this program, finds them.
var (
	ledgers = manager.Register("ledger", func() *ledger { return &ledger{accounts: map[string]int{"bank": 1000}} })
	book    = manager.RegisterMethod(ledgers, (*ledger).book)
	total   = manager.RegisterMethod(ledgers, func(l *ledger, _ context.Context, _ struct{}) (balance, error) {
		return balance{l.accounts, l.entries, os.Getpid()}, nil
	})
)

type bookkeeper struct {
	Ledger *manager.Object[ledger]
	Name   string
}

// keepBooks takes from the bank until there is nothing left.
var keepBooks = process.Register(func(ctx context.Context, k bookkeeper) error {
	for {
		_, err := book.Call(ctx, k.Ledger, booking{"bank", k.Name, 7})
		if errors.Is(err, errShort) { // it came from the other process, and is the same
			return nil
		}
		if err != nil {
			return err
		}
	}
})

// sharedTypes has children call the methods of an object that exists once, in the manager's process.
func sharedTypes(ctx context.Context, s *stage) error {
	m, err := manager.Start(manager.Options{})
	if err != nil {
		return err
	}
	defer m.Shutdown(context.WithoutCancel(ctx))
	books, err := ledgers.New(m)
	if err != nil {
		return err
	}
	keepers := make([]*process.Process, 3)
	for i := range keepers {
		keepers[i] = process.New(keepBooks, bookkeeper{books, fmt.Sprintf("customer %d", i+1)})
	}
	if err := startAll(keepers...); err != nil {
		return err
	}
	if err := joinAll(ctx, keepers...); err != nil {
		return err
	}
	b, err := total.Call(ctx, books, struct{}{})
	if err != nil {
		return err
	}
	sum := 0
	for _, n := range b.Accounts {
		sum += n
	}
	s.check(sum == 1000 && b.Entries == 142 && b.Accounts["bank"] == 6, "3 processes made %d bookings in one ledger: %v", b.Entries, b.Accounts)
	s.check(b.PID != os.Getpid(), "its methods ran in the manager's process, %d", b.PID)
	_, err = book.Call(ctx, books, booking{"bank", "customer 1", 500})
	var failed *manager.MethodError
	s.check(errors.As(err, &failed) && errors.Is(err, errShort), "an error arrives with its identity: %v", err)
	return m.Shutdown(ctx)
}
