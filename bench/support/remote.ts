import { fork } from "node:child_process";
import { once } from "node:events";

/** What a process of a benchmark does when it is asked to. */
export type Functions = Readonly<Record<string, (argument: never) => unknown>>;

/** A process of a benchmark. Disposing it lets it end by itself, and kills it when it does not. */
export interface Remote<F extends Functions> extends AsyncDisposable {
  readonly pid: number;
  /** Has the process do something. Rejects with what it threw there, or when it is gone. */
  call<Name extends keyof F & string>(name: Name, ...args: Parameters<F[Name]>): Promise<Awaited<ReturnType<F[Name]>>>;
}

/** A question to the process. */
export interface Question {
  readonly id: number;
  readonly name: string;
  readonly argument: unknown;
}

/** What became of it. */
export type Answer = { readonly id: number } & ({ readonly value: unknown } | { readonly error: unknown });

const stopTimeoutMs = 15_000;

/** Starts the module, which calls `answerQuestions`, in a process of its own. */
export async function startProcess<F extends Functions>(module: URL, nodeArgs: string[] = []): Promise<Remote<F>> {
  const child = fork(module, { serialization: "advanced", execArgv: [...process.execArgv, ...nodeArgs] });
  const waiting = new Map<number, PromiseWithResolvers<unknown>>();
  let lastId = 0;
  child.on("message", (answer: Answer) => {
    const question = waiting.get(answer.id);
    waiting.delete(answer.id);
    if ("error" in answer) question?.reject(answer.error);
    else question?.resolve(answer.value);
  });
  const exited = once(child, "exit");
  child.once("exit", () => {
    for (const { reject } of waiting.values()) reject(new Error(`${module.pathname} has ended`));
    waiting.clear();
  });
  await once(child, "spawn");
  return {
    pid: child.pid ?? 0,
    call(name, ...[argument]) {
      if (!child.connected) return Promise.reject(new Error(`${module.pathname} has ended`));
      const question = Promise.withResolvers<Awaited<ReturnType<F[typeof name]>>>();
      waiting.set(++lastId, question as PromiseWithResolvers<unknown>);
      child.send({ id: lastId, name, argument } satisfies Question);
      return question.promise;
    },
    async [Symbol.asyncDispose]() {
      if (child.connected) child.disconnect();
      const timer = setTimeout(() => child.kill("SIGKILL"), stopTimeoutMs);
      await exited;
      clearTimeout(timer);
    },
  };
}
