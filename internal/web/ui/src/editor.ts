import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { HighlightStyle, bracketMatching, syntaxHighlighting } from "@codemirror/language";
import { lintKeymap } from "@codemirror/lint";
import { EditorState, Prec } from "@codemirror/state";
import { EditorView, keymap, placeholder } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { PromQLExtension } from "@prometheus-io/codemirror-promql";
import { root } from "./api";

const colours = HighlightStyle.define([
  { tag: tags.name, color: "var(--text)" },
  { tag: [tags.function(tags.variableName), tags.function(tags.name)], color: "var(--fn)" },
  { tag: tags.keyword, color: "var(--kw)" },
  { tag: tags.labelName, color: "var(--label)" },
  { tag: tags.string, color: "var(--str)" },
  { tag: [tags.number, tags.standard(tags.name)], color: "var(--num)" },
  { tag: tags.operator, color: "var(--kw)" },
  { tag: tags.comment, color: "var(--muted)" },
]);

/** promqlEditor makes an editor whose Enter runs the query. */
export function promqlEditor(parent: HTMLElement, doc: string, run: () => void): EditorView {
  const promql = new PromQLExtension().setComplete({
    remote: { url: root.replace(/\/$/, ""), cache: { initialMetricList: [] } },
  });
  return new EditorView({
    parent,
    state: EditorState.create({
      doc,
      extensions: [
        history(),
        bracketMatching(),
        closeBrackets(),
        autocompletion(),
        syntaxHighlighting(colours),
        promql.asExtension(),
        placeholder("PromQL, Enter runs it, Shift+Enter breaks the line"),
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({ "aria-label": "PromQL query" }),
        Prec.high(keymap.of([{ key: "Enter", run: () => (run(), true) }])),
        keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap, ...completionKeymap, ...lintKeymap]),
      ],
    }),
  });
}
