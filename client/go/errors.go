// SPDX-License-Identifier: Apache-2.0
package ledgerd

import (
	"errors"
	"fmt"
	"strings"

	"ledgerd/client/go/internal/schema"
)

// What keeps the ledger from answering. Errors of these kinds wrap them, with what happened.
var (
	// ErrDisconnected: there is no connection to the server, or it was lost before the answer came, and
	// trying again did not help. A Set may have been done or not: sending it again, with the same id or
	// another, leads to the same state.
	ErrDisconnected = errors.New("not connected to the ledger")

	// ErrOverloaded: the server is too busy to take the call.
	ErrOverloaded = errors.New("the ledger is overloaded")

	// ErrUnimplemented: the server is older than this client and does not know the call.
	ErrUnimplemented = errors.New("the ledger does not know this call")

	// ErrFailed: the server failed; a bug of its own, or of this client.
	ErrFailed = errors.New("the ledger failed")

	// ErrProtocol: the server does not keep to the contract. Its answer is not used.
	ErrProtocol = errors.New("the ledger broke its contract")

	// ErrClosed: the client has been closed.
	ErrClosed = errors.New("the ledger's client is closed")
)

// Error is the ledger's refusal.
type Error struct {
	Code    Code   // What kind of refusal: enough to decide whether to retry.
	Reason  Reason // Why, for programs.
	Message string // Why, for people, with the figures.
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%s)", e.Message, e.Reason) }

// Is makes errors.Is(err, reason) and errors.Is(err, code) work.
func (e *Error) Is(target error) bool {
	switch target := target.(type) {
	case Reason:
		return e.Reason == target
	case Code:
		return e.Code == target
	}
	return false
}

// Code is one of gRPC's canonical codes, with its number.
type Code uint16

const (
	InvalidArgument    = Code(schema.Code_invalidArgument)
	DeadlineExceeded   = Code(schema.Code_deadlineExceeded)
	NotFound           = Code(schema.Code_notFound)
	PermissionDenied   = Code(schema.Code_permissionDenied)
	ResourceExhausted  = Code(schema.Code_resourceExhausted)
	FailedPrecondition = Code(schema.Code_failedPrecondition)
	OutOfRange         = Code(schema.Code_outOfRange)
	Unimplemented      = Code(schema.Code_unimplemented)
	Internal           = Code(schema.Code_internal)
	Unavailable        = Code(schema.Code_unavailable)
	DataLoss           = Code(schema.Code_dataLoss)
	Cancelled          = Code(schema.Code_cancelled)
)

func (c Code) String() string { return words(schema.Code(c).String(), "code", uint16(c)) }

// Error makes a code a target for errors.Is.
func (c Code) Error() string { return c.String() }

// Reason says why the ledger refuses: schema/ledger.capnp explains each.
type Reason uint16

const (
	Unspecified       = Reason(schema.Reason_unspecified) // Also what a later version adds.
	BadState          = Reason(schema.Reason_badState)
	BadKey            = Reason(schema.Reason_badKey)
	BadRequest        = Reason(schema.Reason_badRequest)
	UnknownState      = Reason(schema.Reason_unknownState)
	IndexOutOfRange   = Reason(schema.Reason_indexOutOfRange)
	TooLarge          = Reason(schema.Reason_tooLarge)
	OutOfMemory       = Reason(schema.Reason_outOfMemory)
	OutOfSharedMemory = Reason(schema.Reason_outOfSharedMemory)
	Quota             = Reason(schema.Reason_quota)
	ReadOnlySession   = Reason(schema.Reason_readOnlySession)
	ShuttingDown      = Reason(schema.Reason_shuttingDown)
	CallCancelled     = Reason(schema.Reason_cancelled)
	WriteFailed       = Reason(schema.Reason_writeFailed)
	ProofTooDeep      = Reason(schema.Reason_proofTooDeep)
	SetIDReused       = Reason(schema.Reason_setIdReused)
	BadArena          = Reason(schema.Reason_badArena)
	VersionMismatch   = Reason(schema.Reason_versionMismatch)
	BadEncoding       = Reason(schema.Reason_badEncoding)
)

func (r Reason) String() string { return words(schema.Reason(r).String(), "reason", uint16(r)) }

// Error makes a reason a target for errors.Is.
func (r Reason) Error() string { return r.String() }

// words makes "unknown state" of "unknownState".
func words(name, kind string, number uint16) string {
	if name == "" {
		return fmt.Sprintf("%s %d", kind, number)
	}
	var b strings.Builder
	for _, letter := range name {
		if 'A' <= letter && letter <= 'Z' {
			b.WriteByte(' ')
			letter += 'a' - 'A'
		}
		b.WriteRune(letter)
	}
	return b.String()
}

func refusal(code Code, reason Reason, format string, arguments ...any) *Error {
	return &Error{code, reason, fmt.Sprintf(format, arguments...)}
}

func protocolError(format string, arguments ...any) error {
	return fmt.Errorf("%w: %w", ErrProtocol, fmt.Errorf(format, arguments...))
}

func readRefusal(e schema.Error, err error) error {
	if err != nil {
		return protocolError("an error that cannot be read: %w", err)
	}
	message, err := e.Message_()
	if err != nil {
		return protocolError("an error that cannot be read: %w", err)
	}
	return newRefusal(uint16(e.Code()), uint16(e.Reason()), message)
}

// newRefusal makes sense of numbers that a later version may have added to.
func newRefusal(code, reason uint16, message string) *Error {
	refused := &Error{Code(code), Reason(reason), message}
	if refused.Reason > BadEncoding {
		refused.Reason = Unspecified
	}
	if refused.Code == Code(schema.Code_ok) || refused.Code > Code(schema.Code_unauthenticated) {
		refused.Code = Internal
	}
	return refused
}

func isRefusal(err error) bool {
	var refused *Error
	return errors.As(err, &refused)
}
