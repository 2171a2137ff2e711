package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sallyport-dev/sallyport"
	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/classify"
)

func sqlCommand(e *env) *cobra.Command {
	c := &cobra.Command{Use: "sql", Short: "Look at SQL statements as the gateway does"}
	c.AddCommand(&cobra.Command{
		Use: "explain [STATEMENT]", Short: "Say what class a statement is of, why, and what a role minted for it may do", Args: cobra.MaximumNArgs(1),
		Long: `Says what class a statement is of, why, and which privileges the role gets that
is minted for it. Nothing is connected to or run. Without STATEMENT, or with -,
the statement is read from standard input.`,
		Example: `  sallyport sql explain 'select name from people where id = $1'
  sallyport sql explain --json < statement.sql`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var text string
			if len(args) == 1 && args[0] != "-" {
				text = args[0]
			} else {
				b, err := io.ReadAll(io.LimitReader(e.stdin, classify.MaxSQL+1))
				if err != nil {
					return err
				}
				text = string(b)
			}
			if strings.TrimSpace(text) == "" {
				return usageError{fmt.Errorf("there is no statement\n  fix:   sallyport sql explain 'select 1'")}
			}
			s := explainSQL(text)
			if e.json {
				if err := e.printJSON(s); err != nil {
					return err
				}
			} else {
				s.print(e.stdout)
			}
			if s.Refused != "" {
				return exitCode(exitDenied)
			}
			return nil
		},
	})
	return c
}

// sqlExplained is what is found in a statement.
type sqlExplained struct {
	Class   sallyport.Class  `json:"class"`
	Read    bool             `json:"read"` // a grant of class read covers it
	Refused string           `json:"refused,omitempty"`
	Why     string           `json:"why,omitempty"`
	Kinds   []sallyport.Kind `json:"kinds,omitempty"`
	Tables  []sqlTable       `json:"tables"`
	Columns []string         `json:"columns,omitempty"`
}

type sqlTable struct {
	Name       string   `json:"name"`
	Privileges []string `json:"privileges"`
}

// explainSQL goes the way that a call of the tool query goes.
func explainSQL(text string) sqlExplained {
	f := classify.Call(catalog.Facts{Classify: catalog.Classify{SQL: "sql"}, AtLeast: sallyport.Read},
		canon.ObjectValue(canon.Member{Name: "sql", Value: canon.StringValue(text)}))
	s := sqlExplained{
		Class: f.Class, Read: f.Class == sallyport.Read && f.Evidence.Refused == "", Refused: f.Evidence.Refused, Why: f.Evidence.Why, Kinds: f.Kinds,
		Tables: []sqlTable{}, Columns: f.Evidence.Columns,
	}
	for _, r := range f.Evidence.Relations {
		s.Tables = append(s.Tables, sqlTable{r.Name, r.Verbs})
	}
	return s
}

func (s sqlExplained) print(w io.Writer) {
	if s.Refused != "" {
		fmt.Fprintf(w, "refused  %s\n", s.Refused)
		return
	}
	fmt.Fprintf(w, "class    %s\n", s.Class)
	if s.Why != "" {
		fmt.Fprintf(w, "because  %s\n", s.Why)
	}
	if len(s.Kinds) > 0 {
		kinds := make([]string, len(s.Kinds))
		for i, k := range s.Kinds {
			kinds[i] = string(k)
		}
		fmt.Fprintf(w, "kinds    %s\n", strings.Join(kinds, ", "))
	}
	if len(s.Tables) == 0 {
		fmt.Fprintf(w, "role     may touch no table\n")
	}
	for i, t := range s.Tables {
		word := "role"
		if i > 0 {
			word = ""
		}
		fmt.Fprintf(w, "%-7s  %s: %s\n", word, t.Name, strings.Join(t.Privileges, ", "))
	}
	if s.Read {
		fmt.Fprintf(w, "as read  passes, in a read-only transaction\n")
	} else {
		fmt.Fprintf(w, "as read  does not pass\n")
	}
}
