// Java's HttpClient against examples/h2_server: HTTP/2, by an upgrade of HTTP/1.1 or over TLS, or HTTP/1.1 alone.
// Arguments: [--http1] http://HOST:PORT or https://HOST:PORT; WAKERING_AUTHORITY names the file of the certificate that is
// trusted.

import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.FileInputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.SequenceInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class Client {
    static final int TEN_MIB = 10 << 20;
    static String base;
    static HttpClient.Version version = HttpClient.Version.HTTP_2;
    static HttpClient client;

    interface Act {
        void run() throws Exception;
    }

    static void check(String name, Act act) {
        try {
            act.run();
            System.out.println("ok " + name);
        } catch (Throwable error) {
            System.out.println("failed " + name + ": " + String.valueOf(error).replace('\n', ' '));
        }
    }

    static void same(Object found, Object wanted) {
        if (!found.equals(wanted)) throw new RuntimeException(found + " instead of " + wanted);
    }

    static byte[] pattern(int length) {
        byte[] bytes = new byte[length];
        for (int at = 0; at < length; at++) bytes[at] = (byte) (at % 251);
        return bytes;
    }

    static HttpRequest.Builder request(String path) {
        return HttpRequest.newBuilder(URI.create(base + path)).timeout(Duration.ofSeconds(60));
    }

    static byte[] ask(HttpRequest request) throws Exception {
        HttpResponse<byte[]> response = client.send(request, BodyHandlers.ofByteArray());
        same(response.version() + " " + response.statusCode(), version + " 200");
        return response.body();
    }

    static void echo(byte[] sent) throws Exception {
        byte[] back = ask(request("/echo").POST(BodyPublishers.ofByteArray(sent)).build());
        same(Arrays.equals(back, sent), true);
    }

    // In HTTP/1.1 it reads no answer before its content is sent: what comes back meanwhile lies in the sockets' buffers.
    static void countedAndBack() throws Exception {
        HttpRequest post = request("/count").POST(BodyPublishers.ofByteArray(pattern(TEN_MIB))).build();
        same(new String(ask(post)), "" + TEN_MIB);
        echo(pattern(300_000));
    }

    static void atOnce() throws Exception {
        List<CompletableFuture<HttpResponse<String>>> all = new ArrayList<>();
        for (int number = 0; number < 90; number++) {
            HttpRequest request = request("/echo").POST(BodyPublishers.ofString("" + number)).build();
            all.add(client.sendAsync(request, BodyHandlers.ofString()));
        }
        for (int number = 0; number < 90; number++) same(all.get(number).get().body(), "" + number);
    }

    // Content that is sent before the protocol has changed would be kept for afterwards: such a request is answered in HTTP/1.1,
    // which the connection stays with, since only its first request may change it.
    static void contentFirst() throws Exception {
        HttpClient fresh = HttpClient.newHttpClient();
        HttpRequest post = request("/echo").POST(BodyPublishers.ofString("words")).build();
        HttpResponse<String> first = fresh.send(post, BodyHandlers.ofString());
        same(first.version() + " " + first.body(), "HTTP_1_1 words");
        HttpResponse<String> second = fresh.send(request("/").build(), BodyHandlers.ofString());
        same(second.version() + " " + second.body(), "HTTP_1_1 Hello, World!");
    }

    static void leftBehind() throws Exception {
        HttpResponse<InputStream> response = client.send(
            request("/bytes?n=1000000000000").build(), BodyHandlers.ofInputStream());
        try (InputStream in = response.body()) {
            same(in.readNBytes(100_000).length, 100_000);
        }
        same(new String(ask(request("/").build())), "Hello, World!");
    }

    static HttpRequest unknownLength() {
        byte[] part = pattern(50_000);
        InputStream in = new SequenceInputStream(Collections.enumeration(
            List.of(new ByteArrayInputStream(part), new ByteArrayInputStream(part))));
        return request("/count").POST(BodyPublishers.ofInputStream(() -> in)).build();
    }

    static void gracefulClose() throws Exception {
        HttpResponse<InputStream> response = client.send(request("/bytes?n=" + TEN_MIB).build(), BodyHandlers.ofInputStream());
        System.out.println("waiting");
        new BufferedReader(new InputStreamReader(System.in)).readLine();
        same(response.body().readAllBytes().length, TEN_MIB);
    }

    static SSLContext trusting(String file) throws Exception {
        KeyStore known = KeyStore.getInstance(KeyStore.getDefaultType());
        known.load(null, null);
        try (InputStream in = new FileInputStream(file)) {
            known.setCertificateEntry("authority", CertificateFactory.getInstance("X.509").generateCertificate(in));
        }
        TrustManagerFactory managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(known);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        return context;
    }

    public static void main(String[] arguments) throws Exception {
        base = arguments[arguments.length - 1];
        boolean secure = base.startsWith("https:");
        if (arguments[0].equals("--http1")) version = HttpClient.Version.HTTP_1_1;
        System.out.println("version Java " + System.getProperty("java.version"));
        HttpClient.Builder builder = HttpClient.newBuilder().version(version);
        if (secure) builder.sslContext(trusting(System.getenv("WAKERING_AUTHORITY")));
        client = builder.build();
        check("GET", () -> same(new String(ask(request("/").build())), "Hello, World!"));
        check("POST echoed", () -> echo("some words".getBytes()));
        check("empty POST", () -> echo(new byte[0]));
        check("10 MiB down", () -> same(ask(request("/bytes?n=" + TEN_MIB).build()).length, TEN_MIB));
        if (version == HttpClient.Version.HTTP_2) check("10 MiB up and back", () -> echo(pattern(TEN_MIB)));
        else check("10 MiB up, 300 kB up and back", Client::countedAndBack);
        check("upload of unknown length", () -> same(new String(ask(unknownLength())), "100000"));
        check("90 requests at once", Client::atOnce);
        if (!secure && version == HttpClient.Version.HTTP_2) check("content before the upgrade", Client::contentFirst);
        check("a download left behind", Client::leftBehind);
        if (version == HttpClient.Version.HTTP_1_1 || Runtime.version().feature() >= 24)
            check("graceful close", Client::gracefulClose);
        else System.out.println("skipped graceful close: before version 24 it gives up every stream at GOAWAY (JDK-8335181)");
        System.exit(0);
    }
}
