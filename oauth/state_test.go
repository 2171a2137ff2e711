package oauth_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever two parties who share what they stole do with codes and refresh
// tokens, in whatever order and through restarts: a code opens one task at
// most; of one consent at most one refresh token counts; and as soon as a code
// or a refresh token is used that was used before, nothing of it lives.
func TestI9_GrantsAsAStateMachine(t *testing.T) {
	r := newRig(t)
	rapid.Check(t, func(t *rapid.T) {
		r.Advance(time.Minute) // one person would be too fast
		code := r.code(nil)
		var (
			lost   bool // by a restart: codes live in memory
			used   bool
			dead   bool
			opened answered
			live   string   // the refresh token that counts
			former []string // those that do not
		)
		burn := func(a answered, what string) {
			if a.Status != 400 || a.Error != "invalid_grant" {
				t.Fatalf("%s: %d %s", what, a.Status, a.Error)
			}
		}
		// end is what a misuse leaves.
		end := func() { dead = dead || opened.Task != "" }
		t.Repeat(map[string]func(*rapid.T){
			"redeem": func(t *rapid.T) {
				a := r.token(redemption(code, nil), nil)
				if used || lost {
					burn(a, "a code that was used")
					if !lost {
						end()
					}
					return
				}
				used = true
				if a.Status != 200 {
					t.Fatalf("the code: %d %s", a.Status, a.Error)
				}
				opened, live = a, a.RefreshToken
			},
			"redeem with another verifier": func(t *rapid.T) {
				a := r.token(redemption(code, map[string]string{"code_verifier": challenge("x")}), nil)
				burn(a, "the wrong verifier")
				if used && !lost {
					end()
				}
				used = true
			},
			"refresh": func(t *rapid.T) {
				if live == "" {
					t.Skip("nothing to refresh")
				}
				a := r.token(refreshing(live, nil), nil)
				if dead {
					if a.Error != "invalid_grant" {
						t.Fatalf("a dead grant: %d %s", a.Status, a.Error)
					}
					return
				}
				if a.Status != 200 || a.Task != opened.Task {
					t.Fatalf("the refresh token: %d %s", a.Status, a.Error)
				}
				former, live = append(former, live), a.RefreshToken
			},
			"refresh with a former one": func(t *rapid.T) {
				if len(former) == 0 {
					t.Skip("there is none")
				}
				burn(r.token(refreshing(rapid.SampledFrom(former).Draw(t, "former"), nil), nil), "a former refresh token")
				end()
			},
			"restart": func(*rapid.T) {
				r.restart()
				lost = true
			},
			"": func(t *rapid.T) {
				if opened.Task != "" && r.living(opened) == dead {
					t.Fatalf("the task lives: %v, but misuse was seen: %v", !dead, dead)
				}
			},
		})
	})
}
