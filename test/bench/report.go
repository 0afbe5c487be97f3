package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// report collects the rows of the table.
type report struct{ rows []row }

type row struct{ what, figure, goal, verdict string }

// section begins a group of rows.
func (r *report) section(title string) { r.rows = append(r.rows, row{what: title}) }

// figure adds a measurement that has no goal.
func (r *report) figure(what, format string, args ...any) {
	r.rows = append(r.rows, row{what: "  " + what, figure: fmt.Sprintf(format, args...)})
}

// atMost adds a measurement that should not exceed a limit.
func (r *report) atMost(what string, value, limit float64, unit, note string) {
	r.judge(what, value, "≤ ", limit, unit, note, value <= limit)
}

// atLeast adds a measurement that should reach a limit.
func (r *report) atLeast(what string, value, limit float64, note string) {
	r.judge(what, value, "≥ ", limit, "", note, value >= limit)
}

func (r *report) judge(what string, value float64, relation string, limit float64, unit, note string, met bool) {
	verdict := "met"
	if !met {
		verdict = "MISSED"
	}
	figure := short(value) + unit
	if note != "" {
		figure += "  (" + note + ")"
	}
	r.rows = append(r.rows, row{"  " + what, figure, relation + short(limit) + unit, verdict})
}

// short writes v with three digits.
func short(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

func (r *report) print(w io.Writer) {
	widths := [3]int{}
	for _, row := range r.rows {
		for i, cell := range []string{row.what, row.figure, row.goal} {
			if row.figure != "" { // a title may be longer than its column
				widths[i] = max(widths[i], utf8.RuneCountInString(cell))
			}
		}
	}
	for _, row := range r.rows {
		if row.figure == "" {
			fmt.Fprintf(w, "\n%s\n", row.what)
			continue
		}
		line := pad(row.what, widths[0]) + "  " + pad(row.figure, widths[1]) + "  " + pad(row.goal, widths[2]) + "  " + row.verdict
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}
