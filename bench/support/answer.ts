import type { Answer, Functions, Question } from "./remote.ts";

/**
 * Does what the parent asks for, until it lets go of us: then disposes `resources` and ends the process. Called once, by
 * the module that a process runs.
 */
export function answerQuestions(functions: Functions, resources: AsyncDisposableStack): void {
  process.on("message", (question: Question) => {
    void answer(functions, question).then((result) => process.connected && process.send?.(result));
  });
  // The parent decides when it is over, also when somebody presses Ctrl-C.
  process.on("SIGINT", () => {});
  process.once("disconnect", () => {
    void resources.disposeAsync().finally(() => process.exit());
  });
}

async function answer(functions: Functions, { id, name, argument }: Question): Promise<Answer> {
  try {
    const fn = functions[name] as ((argument: unknown) => unknown) | undefined;
    if (fn === undefined) throw new Error(`this process has no function ${name}`);
    return { id, value: await fn(argument) };
  } catch (error) {
    return { id, error };
  }
}
