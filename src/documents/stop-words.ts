const english =
  "a about after all also an and any are as at be because been before but by can could did do does for from had has have " +
  "he her his how i if in into is it its just may me more most my no not of on one or our out over she should so some " +
  "such than that the their them then there these they this those to under until up was we were what when where which " +
  "while who whom why will with would you your";
const german =
  "aber alle als am an auch auf aus bei bin bis bist da damit das dass dem den der des die dies diese ein eine einem " +
  "einen einer eines er es fur hat hatte ich ihr im in ist ja kann kein keine man mein mit nach nicht noch nur oder " +
  "sich sie sind so um und uns von vor war was weil wenn wer werden wie wir wird wo zu zum zur";

const stopWords: ReadonlySet<string> = new Set(`${english} ${german}`.split(" "));

/** True for a word, in lower case and without accents, that says little about what a text is about. Pure. */
export function isStopWord(word: string): boolean {
  return stopWords.has(word);
}
