package state

// BreakCommits makes the database fail every transaction of the store, or
// work again: what a full disk does, at the same place.
func BreakCommits(s *Store, broken bool) error {
	q := `DROP TRIGGER full`
	if broken {
		q = `CREATE TRIGGER full BEFORE INSERT ON records BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END`
	}
	_, err := s.db.Exec(q)
	return err
}

// Exec runs SQL on a closed ledger, as somebody with a shell could.
func Exec(path, sql string) error {
	db, err := openDB(path, true)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.Exec(sql)
	return err
}

// Evict does what the committer does when it is idle, and counts the tasks
// left in memory.
func Evict(s *Store) int {
	s.evict()
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries)
}
