// Runs the files that standard input names, one a line; what one defines at its top level is there for the next.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { PassThrough } from "node:stream";
import repl from "node:repl";

const complaints = new PassThrough();
complaints.on("data", (text) => {
  process.stdout.write(text);
  if (/Uncaught/.test(text)) process.exit(1);
});
const { eval: evaluate, context } = repl.start({
  prompt: "",
  input: new PassThrough(),
  output: complaints,
  useGlobal: true,
});

for await (const file of createInterface({ input: process.stdin })) {
  await new Promise((resolve, reject) =>
    evaluate(asScript(readFileSync(file, "utf8")), context, file, (error) => (error ? reject(error) : resolve())),
  );
  console.log("\n--- end of block");
}
process.exit();

// A prompt knows modules only by `import()`.
function asScript(code) {
  return code.replace(/^import (\{.*\}) from (".*");$/gm, "const $1 = await import($2);").replace(/^export /gm, "");
}
