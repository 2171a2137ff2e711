package gateway_test

import (
	"context"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/sallyporttest"
	"github.com/sallyport-dev/sallyport/task"
)

// An agent starts tasks for one user up to a bound; one that ends, or whose
// deadline passes, makes room.
func TestLivingTasksAreBounded(t *testing.T) {
	g := sallyporttest.New(t, sallyporttest.Options{})
	ctx := context.Background()
	first := g.Start(anyTemplate, nil)
	for range 255 {
		g.Start(anyTemplate, nil)
	}
	st, err := g.Store.View(ctx, first.Task())
	if err != nil {
		t.Fatal(err)
	}
	start := func(user string) error {
		m := *st.Mandate
		now := g.Now().UTC().Truncate(time.Millisecond)
		m.User.ID, m.NotBefore, m.Expires = user, now, now.Add(10*time.Minute)
		if err := m.Compile(); err != nil {
			t.Fatal(err)
		}
		_, err := g.StartTask(ctx, &m)
		return err
	}
	dana := sallyporttest.User.ID
	if err := start(dana); code(err) != "too_many_tasks" {
		t.Errorf("one more: %v", err)
	}
	if err := start("kim@test.example"); err != nil {
		t.Errorf("for another user: %v", err)
	}
	if _, err := g.EndTask(ctx, first.Task(), task.Completed, "test"); err != nil {
		t.Fatal(err)
	}
	if err := start(dana); err != nil {
		t.Errorf("after one has ended: %v", err)
	}
	if err := start(dana); code(err) != "too_many_tasks" {
		t.Errorf("one more again: %v", err)
	}
	g.Advance(11 * time.Minute)
	if err := start(dana); err != nil {
		t.Errorf("when they have lapsed: %v", err)
	}
}
