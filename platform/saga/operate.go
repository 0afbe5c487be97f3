package saga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"cleave/platform/db"
	"cleave/platform/fault"
)

// Filter chooses sagas; the zero value chooses all.
type Filter struct {
	Name, ID      string
	State         State
	Before, After time.Time // of the start: earlier than Before, not earlier than After
	Limit         int       // 0 = 100; at most 1000
	Next          Cursor    // of the last saga of the page before
}

// Cursor is a place in the list. Its zero value is the beginning.
type Cursor struct{ Name, ID string }

// Limits of one page.
const (
	defaultPage = 100
	maxPage     = 1000
)

// Info is what a list shows of a saga.
type Info struct {
	Name      string    `json:"name"`
	ID        string    `json:"id"`
	State     State     `json:"state"`
	Step      string    `json:"step,omitempty"`     // to do or to undo next; empty at the end, and of sagas without a plan
	Attempts  int       `json:"attempts,omitempty"` // that failed at this step
	Cause     string    `json:"cause,omitempty"`    // what turned it round
	Error     string    `json:"error,omitempty"`    // the latest one
	Owner     string    `json:"owner,omitempty"`    // the process that runs it
	DueAt     time.Time `json:"due_at"`             // when it goes on, or its owner's lease ends
	Deadline  time.Time `json:"deadline,omitzero"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// Detail is all that is known of a saga.
type Detail struct {
	Info
	Plan    []string        `json:"plan"` // the steps it began with
	Done    int             `json:"done"` // how many of them are done and not undone
	Data    json.RawMessage `json:"data"`
	History []Entry         `json:"history"`
}

// List reads up to Limit sagas, by name, and of each name the largest ids
// first: the newest, if ids rise with time as UUIDv7 do. It fails with Invalid
// when the filter makes no sense.
func List(ctx context.Context, d *db.DB, f Filter) ([]Info, error) {
	rows, err := find(ctx, d, f, "", "")
	if err != nil {
		return nil, err
	}
	infos := make([]Info, len(rows))
	for i, in := range rows {
		infos[i] = in.info()
	}
	return infos, nil
}

// Show reads one saga; NotFound, saga_not_found when there is none.
func Show(ctx context.Context, d *db.DB, name, id string) (*Detail, error) {
	in, err := lookUp(ctx, d, name, id, "")
	if err != nil {
		return nil, err
	}
	detail := &Detail{Info: in.info(), Done: in.Step, Data: in.Data, History: in.entries}
	for _, st := range parsePlan(in.Plan) {
		detail.Plan = append(detail.Plan, st.name)
	}
	return detail, nil
}

// Retry lets the chosen sagas go on that do not go on by themselves now, with
// attempts and time limits counted anew: those that ended as
// CompensationFailed, in the direction in which they failed, and those that wait for their next
// attempt. It returns how many. When Name and ID choose one that cannot be
// retried, it fails with Conflict, saga_state, or NotFound.
func Retry(ctx context.Context, d *db.DB, f Filter) (n int, err error) {
	err = d.Tx(ctx, func(ctx context.Context) error {
		n = 0
		rows, err := find(ctx, d, f, " AND (state = 'compensation_failed' OR (state IN ('running', 'compensating') AND owner = ''))", forUpdate(d))
		if err != nil {
			return err
		}
		for _, in := range rows {
			if in.State == CompensationFailed {
				in.State = Running
				if in.Cause != "" {
					in.State = Compensating
				}
			}
			if err := in.resume(ctx, d, Entry{Kind: KindRetry}); err != nil {
				return err
			}
		}
		n = len(rows)
		return nil
	})
	if err == nil && n == 0 && f.Name != "" && f.ID != "" {
		in, err := lookUp(ctx, d, f.Name, f.ID, "")
		if err != nil {
			return 0, err
		}
		return 0, fault.New(fault.Conflict, "saga_state", "the saga is %s and cannot be retried now", in.State)
	}
	return n, err
}

// Compensate turns a running saga round: what it has done, or is doing at this
// moment, is undone. It does nothing to one that is turned round already. It
// fails with NotFound, saga_not_found; with Conflict, saga_state when the saga
// is Completed or CompensationFailed, and saga_past_return when it has reached
// a retriable step.
func Compensate(ctx context.Context, d *db.DB, name, id string) error {
	cause := fault.New(fault.Conflict, "saga_compensated", "the saga was turned round by an operator")
	return d.Tx(ctx, func(ctx context.Context) error { return turnRound(ctx, d, name, id, cause) })
}

// Compensate turns the saga with this id round in the transaction that ctx
// carries, as the function Compensate does, for the given cause. It does nothing
// to one whose compensation has failed. A saga is the lock on what it works on:
// who changes that meanwhile calls Compensate in the same transaction, after locking the
// rows that the saga's local steps write, so that the saga cannot go on over
// the change.
func (s *Saga[S]) Compensate(ctx context.Context, id string, cause *fault.Error) error {
	err := turnRound(ctx, s.runner.db, s.program.Name, id, cause)
	if errors.Is(err, errTurned) {
		return nil
	}
	if err != nil {
		return err
	}
	s.runner.db.AfterCommit(ctx, s.runner.wakeUp)
	return nil
}

// errTurned is the cause of the fault about a saga whose compensation has failed.
var errTurned = errors.New("the saga was turned round before")

// turnRound relies on the guard of each record: what an owner reaches after
// this transaction is not written any more.
func turnRound(ctx context.Context, d *db.DB, name, id string, cause *fault.Error) error {
	in, err := lookUp(ctx, d, name, id, forUpdate(d))
	if err != nil {
		return err
	}
	switch in.State {
	case Running:
	case Compensating, Compensated:
		return nil
	default:
		f := fault.New(fault.Conflict, "saga_state", "the saga is %s and cannot be compensated", in.State)
		if in.State == CompensationFailed && in.Cause != "" {
			return f.Wrap(errTurned)
		}
		return f
	}
	if plan := parsePlan(in.Plan); in.Step < len(plan) {
		next := plan[in.Step]
		if next.retriable || (in.Step > 0 && plan[in.Step-1].retriable) {
			return fault.New(fault.Conflict, "saga_past_return", "the saga has reached step %s, which is only done, never undone", next.name)
		}
		if !next.local {
			in.Step++ // it may be under way
		}
	}
	if in.Cause, err = encodeCause(cause); err != nil {
		return err
	}
	in.State = Compensating
	return in.resume(ctx, d, Entry{Kind: KindCompensate})
}

// resume queues the row as one that is due and belongs to nobody.
func (in instance) resume(ctx context.Context, d *db.DB, why Entry) error {
	now := time.Now()
	why.Began, why.Ended = now, now
	in.note(why)
	history, err := encodeHistory(in.entries)
	if err != nil {
		return err
	}
	return d.Queue(ctx).Exec("UPDATE sagas SET state = ?, step = ?, attempts = 0, due_at = 0, owner = '', cause = ?, history = ?, updated_at = ? WHERE name = ? AND id = ?",
		string(in.State), in.Step, in.Cause, history, db.Micros(now), in.Name, in.ID).Error
}

func forUpdate(d *db.DB) string {
	if d.Dialect() == "postgres" {
		return " FOR UPDATE"
	}
	return ""
}

func lookUp(ctx context.Context, d *db.DB, name, id, lock string) (instance, error) {
	var rows []instance
	if err := d.Conn(ctx).Raw("SELECT * FROM sagas WHERE name = ? AND id = ?"+lock, name, id).Scan(&rows).Error; err != nil {
		return instance{}, err
	}
	if len(rows) == 0 {
		return instance{}, fault.New(fault.NotFound, "saga_not_found", "there is no saga %s %s", name, id)
	}
	rows[0].entries = decodeHistory(rows[0].History)
	return rows[0], nil
}

// find reads the chosen sagas, if also is true of them.
func find(ctx context.Context, d *db.DB, f Filter, also, lock string) ([]instance, error) {
	where, args := " WHERE 1 = 1"+also, []any(nil)
	and := func(condition string, values ...any) {
		where += " AND " + condition
		args = append(args, values...)
	}
	if f.Limit < 0 || f.Limit > maxPage {
		return nil, fault.New(fault.Invalid, "saga_limit", "the limit is %d; allowed are 1 to %d", f.Limit, maxPage)
	}
	if f.Limit == 0 {
		f.Limit = defaultPage
	}
	if f.Name != "" {
		and("name = ?", f.Name)
	}
	if f.ID != "" {
		and("id = ?", f.ID)
	}
	switch f.State {
	case "":
	case Running, Compensating, Completed, Compensated, CompensationFailed:
		and(fmt.Sprintf("state = '%s'", f.State)) // as a literal, so that the partial indexes serve
	default:
		return nil, fault.New(fault.Invalid, "saga_state_unknown", "%q is no state of a saga", string(f.State))
	}
	if !f.Before.IsZero() {
		and("created_at < ?", db.Micros(f.Before))
	}
	if !f.After.IsZero() {
		and("created_at >= ?", db.Micros(f.After))
	}
	if f.Next != (Cursor{}) {
		and("(name, id) < (?, ?)", f.Next.Name, f.Next.ID)
	}
	var rows []instance
	err := d.Conn(ctx).Raw("SELECT * FROM sagas"+where+" ORDER BY name DESC, id DESC LIMIT ?"+lock, append(args, f.Limit)...).Scan(&rows).Error
	for i := range rows {
		rows[i].entries = decodeHistory(rows[i].History)
	}
	return rows, err
}

func (in instance) info() Info {
	info := Info{
		Name: in.Name, ID: in.ID, State: in.State, Attempts: in.Attempts, Owner: in.Owner, DueAt: db.FromMicros(in.DueAt),
		CreatedAt: db.FromMicros(in.CreatedAt), UpdatedAt: db.FromMicros(in.UpdatedAt),
	}
	if in.Deadline > 0 {
		info.Deadline = db.FromMicros(in.Deadline)
	}
	plan, next := parsePlan(in.Plan), in.Step
	if in.Cause != "" {
		next--
		info.Cause = describe(in.cause())
	}
	if in.State != Completed && in.State != Compensated && next >= 0 && next < len(plan) {
		info.Step = plan[next].name
	}
	for _, e := range in.entries {
		if e.Error != "" {
			info.Error = e.Error
		}
	}
	return info
}

// Cursor is the saga's place in the list.
func (i Info) Cursor() Cursor { return Cursor{i.Name, i.ID} }

// Count is how many sagas of one definition are in one state, and since when
// the oldest of them is there.
type Count struct {
	Name   string
	State  State
	Sagas  int64
	Oldest time.Time // start of the oldest
}

// Counts counts the sagas that have not ended well: those that run, compensate
// or need a person.
func Counts(ctx context.Context, d *db.DB) ([]Count, error) {
	var rows []struct {
		Name   string
		State  State
		Sagas  int64
		Oldest int64
	}
	const count = "SELECT name, state, count(*) AS sagas, min(created_at) AS oldest FROM sagas WHERE state "
	err := d.Conn(ctx).Raw(count + "IN ('running', 'compensating') GROUP BY name, state UNION ALL " +
		count + "= 'compensation_failed' GROUP BY name, state ORDER BY name, state").Scan(&rows).Error
	counts := make([]Count, len(rows))
	for i, r := range rows {
		counts[i] = Count{Name: r.Name, State: r.State, Sagas: r.Sagas, Oldest: db.FromMicros(r.Oldest)}
	}
	return counts, err
}
