package manager

import "context"

// An operation does a request and replies. It reads all arguments before it does anything, checks with ok that they are what
// they should be, and keeps none of their memory. With store.NoWait it returns store.ErrBusy instead of waiting, and has done nothing. An
// error that it returns is the reply.
type operation func(r *request, ctx context.Context) error

// variable is the number of arguments where that varies: at least one.
const variable = -1

// operations has what the protocol's numbers stand for. Numbers between them have none.
var operations = [...]struct {
	do     operation
	args   int  // how many it has; variable: one or more
	silent bool // it may be sent without wanting a reply
}{
	// The connection and objects.
	opCancel:     {do: (*request).cancelOther, args: 1, silent: true},
	opPing:       {do: (*request).ping},
	opShutdown:   {do: (*request).shutdown},
	opStats:      {do: (*request).stats},
	opCreate:     {do: (*request).create, args: variable},
	opOpen:       {do: (*request).open, args: variable},
	opRemove:     {do: (*request).remove, args: 1},
	opRelease:    {do: (*request).release, args: variable, silent: true},
	opOffer:      {do: (*request).offer, args: 1},
	opClaim:      {do: (*request).claim, args: 1},
	opWithdraw:   {do: (*request).withdraw, args: 1, silent: true},
	opNext:       {do: (*request).next, args: 1},
	opRings:      {do: (*request).offerRings},
	opRingsTaken: {do: (*request).takeRings, args: 1, silent: true},

	// Dict.
	opDictLen:        {do: (*request).dictLen, args: 1},
	opDictGet:        {do: (*request).dictGet, args: 2},
	opDictSet:        {do: (*request).dictSet, args: 3},
	opDictDelete:     {do: (*request).dictDelete, args: 2},
	opDictGetMany:    {do: (*request).dictGetMany, args: variable},
	opDictSetMany:    {do: (*request).dictSetMany, args: variable},
	opDictDeleteMany: {do: (*request).dictDeleteMany, args: variable},
	opDictPage:       {do: (*request).dictPage, args: 2},
	opDictSnapshot:   {do: (*request).dictSnapshot, args: 1},
	opDictLease:      {do: (*request).dictLease, args: 2},
	opDictCommit:     {do: (*request).dictCommit, args: 2},

	// List.
	opListLen:      {do: (*request).listLen, args: 1},
	opListGet:      {do: (*request).listGet, args: 2},
	opListSet:      {do: (*request).listSet, args: 3},
	opListAppend:   {do: (*request).listAppend, args: variable},
	opListInsert:   {do: (*request).listInsert, args: 3},
	opListPop:      {do: (*request).listPop, args: 2},
	opListSnapshot: {do: (*request).listSnapshot, args: 1},

	// Set.

	// Queue.

	// Mutex and RMutex.

	// Semaphore.

	// Cond.

	// Event.

	// Barrier.

	// Namespace.

	// Value.

	// Array.

	// Own types.
}
