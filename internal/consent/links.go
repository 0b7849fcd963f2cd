package consent

import (
	"context"
	"errors"
	"slices"

	"github.com/go-json-experiment/json"
)

// Link links a user and a device, as at log-in. It is two writes, the device's
// first; each is safe alone, and a call that failed between them may be
// repeated. Linking what is linked writes nothing. It returns [ErrGone] when
// either is cancelled, and [ErrTooManyLinks].
func (s *Service) Link(ctx context.Context, user, device string) error {
	u, d, err := s.pair(user, device)
	if err != nil {
		return err
	}
	// A cancelled user must not leave a link in a device's ledger.
	states, err := s.loadAll(ctx, []ID{u, d})
	if err != nil {
		return err
	}
	for _, st := range states {
		if st.Tombstoned {
			return ErrGone
		}
	}
	if err := s.relink(ctx, d, User, u, true); err != nil {
		return err
	}
	err = s.relink(ctx, u, Device, d, true)
	if errors.Is(err, ErrGone) || errors.Is(err, ErrTooManyLinks) {
		// The user was cancelled meanwhile, or cannot have this device.
		err = errors.Join(err, s.relink(ctx, d, User, u, false))
	}
	return err
}

// Unlink ends the link of a user and a device, as at log-out: two writes, the
// device's first. Unlinking what is not linked writes nothing.
func (s *Service) Unlink(ctx context.Context, user, device string) error {
	u, d, err := s.pair(user, device)
	if err != nil {
		return err
	}
	if err := s.relink(ctx, d, User, u, false); err != nil {
		return err
	}
	return s.relink(ctx, u, Device, d, false)
}

func (s *Service) pair(user, device string) (u, d ID, err error) {
	u, ok := s.ident.Identify(User, user)
	d, ok2 := s.ident.Identify(Device, device)
	if !ok || !ok2 {
		return "", "", ErrNoSubject
	}
	return u, d, nil
}

// relink adds other, which is of kind otherKind, to the links of a subject, or
// takes it out.
func (s *Service) relink(ctx context.Context, id ID, otherKind Kind, other ID, linked bool) error {
	typ := EntryUnlink
	if linked {
		typ = EntryLink
	}
	event, err := encodeParty(otherKind, other)
	if err != nil {
		return err
	}
	return s.retry(ctx, func() error {
		prev, err := s.load(ctx, id)
		if err != nil {
			return err
		}
		switch {
		case prev.LinkedTo(other) == linked:
			return nil
		case prev.Tombstoned: // and so without links
			return ErrGone
		case linked && len(prev.Links) >= MaxLinks:
			return ErrTooManyLinks
		}
		next := prev.clone()
		if linked {
			next.Links = append(next.Links, other)
			if next.Salt == nil {
				next.Salt = newSalt()
			}
		} else {
			next.Links = slices.DeleteFunc(next.Links, func(l ID) bool { return l == other })
		}
		entry, err := appendEntry(&next, id, typ, inForce(s.policy()), event, s.now())
		if err != nil {
			return err
		}
		return s.commit(ctx, Write{ID: id, Prev: prev, Next: next, Entry: entry})
	})
}

// Cancel cancels an account, or a device: its grants and its salt are gone, and
// with a user those of the devices linked to no other living user. A tombstone
// and the ledger stay. It returns [ErrGone] when the subject is cancelled
// already, and may be repeated after any other error: the subject's own write
// comes last, so that a Cancel cut short is seen to be unfinished.
//
// Another user of the same device, and another device, keep their state and
// lose only the link.
func (s *Service) Cancel(ctx context.Context, kind Kind, id string) (Entry, error) {
	subject, ok := s.ident.Identify(kind, id)
	if !ok {
		return Entry{}, ErrNoSubject
	}
	return s.cancel(ctx, subject, []byte("{}"), func(links []ID) error {
		for _, other := range links {
			var err error
			if kind == User {
				err = s.leaveDevice(ctx, other, subject)
			} else {
				err = s.relink(ctx, other, kind, subject, false)
			}
			if err != nil && !errors.Is(err, ErrGone) {
				return err
			}
		}
		return nil
	})
}

// cancel erases a subject and leaves a tombstone. unlink is called first, with
// the subject's links, at every attempt.
func (s *Service) cancel(ctx context.Context, subject ID, event []byte, unlink func(links []ID) error) (Entry, error) {
	var entry Entry
	err := s.retry(ctx, func() error {
		prev, err := s.load(ctx, subject)
		if err != nil {
			return err
		}
		if prev.Tombstoned {
			return ErrGone
		}
		if err := unlink(prev.Links); err != nil {
			return err
		}
		next := State{Version: prev.Version, Head: prev.Head, Tombstoned: true}
		entry, err = appendEntry(&next, subject, EntryCancel, inForce(s.policy()), event, s.now())
		if err != nil {
			return err
		}
		// A device linked since prev was read makes this a conflict.
		return s.commit(ctx, Write{ID: subject, Prev: prev, Next: next, Entry: entry, Erase: true})
	})
	if err != nil {
		return Entry{}, err
	}
	return entry, nil
}

// leaveDevice takes a user who is being cancelled off a device, and erases the
// device's state if nobody else uses it. The device is not tombstoned: whoever
// uses it next starts afresh.
func (s *Service) leaveDevice(ctx context.Context, device, user ID) error {
	event, err := encodeParty(User, user)
	if err != nil {
		return err
	}
	return s.retry(ctx, func() error {
		prev, err := s.load(ctx, device)
		if err != nil || prev.Tombstoned {
			return err
		}
		others := slices.DeleteFunc(slices.Clone(prev.Links), func(l ID) bool { return l == user })
		shared, err := s.anyAlive(ctx, others)
		if err != nil {
			return err
		}
		if shared {
			return s.relink(ctx, device, User, user, false)
		}
		if !prev.LinkedTo(user) && len(prev.Grants) == 0 && prev.Salt == nil && prev.Policy == "" {
			return nil // erased by an attempt before, or never written
		}
		next := State{Version: prev.Version, Head: prev.Head}
		entry, err := appendEntry(&next, device, EntryCancel, inForce(s.policy()), event, s.now())
		if err != nil {
			return err
		}
		return s.commit(ctx, Write{ID: device, Prev: prev, Next: next, Entry: entry, Erase: true})
	})
}

func (s *Service) anyAlive(ctx context.Context, ids []ID) (bool, error) {
	if len(ids) == 0 {
		return false, nil
	}
	states, err := s.loadAll(ctx, ids)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(states, func(st State) bool { return st.Known() }), nil
}

// encodeParty is the event of an entry about a link.
func encodeParty(kind Kind, id ID) ([]byte, error) {
	return json.Marshal(map[string]ID{string(kind): id})
}
