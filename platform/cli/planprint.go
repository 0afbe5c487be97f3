package cli

import (
	"fmt"
	"time"

	"cleave/platform/forecast"
)

// The rows of a forecast's tables.
type (
	planOperation struct {
		Operation string `json:"operation"`
		Requests  int64  `json:"requests"`
		Calls     string `json:"calls"`
		Later     string `json:"later"`
		Events    string `json:"events"`
		Handed    bool   `json:"handed_on"`
		Bytes     string `json:"bytes"`
		P50       string `json:"p50"`
		P99       string `json:"p99"`
		AddedCPU  string `json:"cpu"`
	}
	planEdge struct {
		Edge       string `json:"edge"`
		Method     string `json:"method"`
		PerRequest string `json:"per_request"`
		Bytes      string `json:"bytes"`
	}
	planEvent struct {
		Event      string `json:"event"`
		From       string `json:"from"`
		Subscriber string `json:"subscriber"`
		PerRequest string `json:"per_request"`
	}
)

// printForecast prints f as JSON, or as tables of what would cross processes.
func (a *app) printForecast(f forecast.Forecast) error {
	if a.output == "json" {
		return a.print(f)
	}
	fmt.Fprintf(a.Out, "Split %s, requests arrive at %s; from %d requests in %s\n", f.Split, f.Front, f.Requests, f.Window.Round(time.Second))
	fmt.Fprintf(a.Out, "A call adds %s (p99 %s, processor %s), a request handed on %s (%s, %s)\n\n",
		micros(f.Hops.Call.P50), micros(f.Hops.Call.P99), micros(f.Hops.Call.CPU), micros(f.Hops.Front.P50), micros(f.Hops.Front.P99), micros(f.Hops.Front.CPU))
	rows := []planOperation{}
	for _, o := range f.Operations {
		rows = append(rows, planOperation{
			Operation: o.Module + "." + o.Name, Requests: o.Requests, Calls: few(o.Calls), Later: few(o.LaterCalls), Events: few(o.Events),
			Handed: o.Handed, Bytes: fmt.Sprintf("%.0f", o.Bytes), AddedCPU: "+" + micros(o.AddedCPU),
			P50: micros(o.P50) + " +" + micros(o.AddedP50), P99: micros(o.P99) + " +" + micros(o.AddedP99),
		})
	}
	if err := a.print(rows); err != nil {
		return err
	}
	if len(f.Edges) > 0 {
		fmt.Fprintln(a.Out)
		rows := []planEdge{}
		for _, e := range f.Edges {
			rows = append(rows, planEdge{e.Caller + "→" + e.Callee, e.Method, few(e.PerRequest), fmt.Sprintf("%.0f", e.Bytes)})
		}
		if err := a.print(rows); err != nil {
			return err
		}
	}
	if len(f.Events) > 0 {
		fmt.Fprintln(a.Out)
		rows := []planEvent{}
		for _, e := range f.Events {
			rows = append(rows, planEvent{e.Type, e.From, e.Subscriber, few(e.PerRequest)})
		}
		if err := a.print(rows); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(a.Out, "\nProcessor time per 1,000 requests: %.2f s now, +%.2f s\n%s\n", f.CPU.Now, f.CPU.Added, f.Verdict.Words)
	return err
}

func few(n float64) string { return fmt.Sprintf("%.2f", n) }

func micros(d time.Duration) string {
	if d >= time.Millisecond {
		return fmt.Sprintf("%.1fms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.0fµs", float64(d)/float64(time.Microsecond))
}
