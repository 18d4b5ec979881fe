// Sphinx's own scores, and one change: where a word is both explained in the glossary and the subject of a chapter, the
// chapter comes first, since the glossary's lines lead there and not back.
var Scorer = {
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
  score: ([page, , , , score]) => score - (page === "book/glossary" ? 1 : 0),
};
