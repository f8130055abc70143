// Package admission is the vocabulary of what a write may be answered with: the
// limits a sample and its labels must keep, the reasons for which one is
// refused, and the errors for which a whole request is. Every entrance (REST,
// remote write, OTLP, rules) and the pipeline behind them use the same ones,
// so that an error means the same everywhere. It imports nothing of Count.
package admission
