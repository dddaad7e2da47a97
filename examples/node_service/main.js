// A service that answers questions. OpenTelemetry's standard variables describe it (see README.md);
// session and user come with each request.
import { createServer } from "node:http";

import { SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { defaultResource, detectResources, envDetector } from "@opentelemetry/resources";
import { BatchSpanProcessor, NodeTracerProvider } from "@opentelemetry/sdk-trace-node";

const provider = new NodeTracerProvider({
  resource: defaultResource().merge(detectResources({ detectors: [envDetector] })),
  spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())],
});
provider.register();
const tracer = trace.getTracer("node-service");

function answer(question) {
  return tracer.startActiveSpan("retrieve", (span) => {
    span.end();
    return question ? `Nobody knows: ${question}` : "";
  });
}

const server = createServer((request, response) => {
  const url = new URL(request.url, "http://localhost");
  const question = url.searchParams.get("question") ?? "";
  tracer.startActiveSpan("ask", { kind: SpanKind.SERVER }, (span) => {
    span.setAttribute("session.id", request.headers["x-session-id"] ?? "");
    span.setAttribute("user.id", request.headers["x-user-id"] ?? "");
    span.setAttribute("mlflow.spanInputs", JSON.stringify({ question }));
    const text = answer(question);
    span.setAttribute("mlflow.spanOutputs", JSON.stringify(text));
    if (!text) span.setStatus({ code: SpanStatusCode.ERROR, message: "no question" });
    response.statusCode = text ? 200 : 400;
    response.end(`${text}\n`);
    span.end();
  });
});
server.listen(Number(process.env.PORT ?? 8000), "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${server.address().port}`);
});

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, async () => {
    server.close();
    await provider.shutdown(); // exports the remaining spans
    process.exit(0);
  });
}
