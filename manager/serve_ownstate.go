package manager

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-multiproc/multiproc/internal/crash"
	"github.com/go-multiproc/multiproc/internal/store"
)

// A visit is one call's stay in an object whose state is kept.
//
// A call that is alone works on the object itself, and what it has made of that is kept before the next one begins: whoever comes then builds on nothing that might be lost.
// Those that are not alone cannot wait for that, nor may they see what is not kept yet; so each has a copy of what is. An object with handles in it is likewise
// made anew for each call: between calls only the store refers to what it mentions, and so sees circles of objects that nobody else can reach.
type visit struct {
	*durable
	server *server
	own    *store.Own
	alone  bool
	create func() any
	client *client // to the server itself; nil if there are no handles

	object  any
	handles []*handle // that were made for this visit
}

// enter returns the object.
func (v *visit) enter(ctx context.Context) (any, error) {
	if err := v.own.First(v.begin); err != nil {
		return nil, err
	}
	if v.alone && !v.durable.handles {
		v.object = v.own.Live()
	}
	if v.object == nil {
		if err := v.load(ctx); err != nil {
			return nil, err
		}
	}
	return v.object, nil
}

// begin keeps what a new object is.
func (v *visit) begin() error {
	v.object = v.create()
	handles, err := v.keep()
	closeAll(handles)
	v.object = nil // what is not encoded is not to be seen in the first call only
	if err != nil {
		f := failureOf(err)
		return &failure{f.code, "the object cannot be kept: " + f.text}
	}
	return nil
}

// load makes the object of what is kept.
func (v *visit) load(ctx context.Context) (err error) {
	state, tokens, _ := v.own.Lend()
	if len(tokens) > 0 {
		if err := v.client.claimAll(ctx, tokens, state.Refs); err != nil {
			v.server.store.Withdraw(tokens)
			return unreachable(ctx, err)
		}
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it panicked: %v", p)
		}
		if err != nil {
			err = &failure{codeType, fmt.Sprintf("what is kept of the object, %d bytes, cannot be decoded as %q: %v", len(state.Data), v.own.Type(), err)}
		}
	}()
	v.object, v.handles, err = v.decode(v.client, state)
	return err
}

// leave keeps what the method has made of the object. If that cannot be, the object is what it was.
func (v *visit) leave() (err error) {
	var found []*handle
	err = errGoexit // unless we come to the end
	defer func() {
		if v.alone && !v.durable.handles {
			if err != nil {
				v.object = nil
			}
			v.own.SetLive(v.object)
		}
		closeAll(v.handles)
		closeAll(found)
	}()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("encoding it panicked: %v", p)
		}
	}()
	if v.alone {
		found, err = v.keep()
		return err
	}
	return nil
}

// keep keeps the object as it is, unless it is what it was. It also returns the handles in it.
func (v *visit) keep() ([]*handle, error) {
	e, found, err := v.encode(v.client, v.object)
	if err != nil {
		return found, err
	}
	defer releaseAll(e.holds)
	if old, ok := v.own.State(); ok && old.Data == string(e.data) && slices.Equal(old.Refs, e.refs) {
		return found, nil
	}
	if n, most := len(e.data), v.server.options.maxMessage(); n > most {
		return found, &failure{codeTooLarge, fmt.Sprintf("the object has %d bytes, and may have %d (Options.MaxMessage of the server)", n, most)}
	}
	var offers []store.Token
	for _, id := range v.own.Unknown(e.refs) {
		t, err := v.client.offer(context.Background(), id) // the caller's ctx has no say any more
		if err != nil {
			v.server.store.Withdraw(offers)
			return found, fmt.Errorf("the server cannot reach its own objects: %w", err)
		}
		offers = append(offers, t)
	}
	crash.At("own.encoded")
	err = v.own.Keep(store.Value{Data: string(e.data), Refs: e.refs}, offers)
	crash.At("own.kept")
	return found, err
}

// closeAll closes handles, which nobody waits on.
func closeAll(handles []*handle) {
	for _, h := range handles {
		h.close()
	}
}

// unreachable is why a method is not called.
func unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return &failure{codeCancelled, "given up before the method was called"}
	}
	return &failure{codeInvalid, fmt.Sprintf("the server cannot reach its own objects: %v", err)}
}

// An undone is why a call's changes were not kept, and with what error the method had returned; nil if with none.
type undone struct{ ran, cause error }

func (e *undone) Error() string {
	text := "what it changed cannot be kept, and is undone: " + failureOf(e.cause).text
	if e.ran != nil {
		return e.ran.Error() + "; and " + text
	}
	return text
}

// Unwrap has the errors that callers compare with, which the store calls differently.
func (e *undone) Unwrap() []error {
	is := []error{ErrUndone, e.cause}
	if e.ran != nil {
		is = append(is, e.ran)
	}
	if f := failureOf(e.cause); f.code != codeInvalid {
		is = append(is, errors.Unwrap(remoteError(f)))
	}
	return is
}
