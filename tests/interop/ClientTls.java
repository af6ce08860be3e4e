// Java's HttpClient over TLS, against examples/h2_server --tls. Argument: https://HOST:PORT; WAKERING_AUTHORITY names the
// file of the certificate that is trusted.

import java.io.FileInputStream;
import java.io.InputStream;
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
import java.util.List;
import java.util.concurrent.CompletableFuture;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class ClientTls {
    static final int TEN_MIB = 10 << 20;
    static String base;
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
        same(response.version() + " " + response.statusCode(), "HTTP_2 200");
        return response.body();
    }

    static void echo(byte[] sent) throws Exception {
        byte[] back = ask(request("/echo").POST(BodyPublishers.ofByteArray(sent)).build());
        same(Arrays.equals(back, sent), true);
    }

    static void atOnce() throws Exception {
        List<CompletableFuture<HttpResponse<String>>> all = new ArrayList<>();
        for (int number = 0; number < 90; number++) {
            HttpRequest request = request("/echo").POST(BodyPublishers.ofString("" + number)).build();
            all.add(client.sendAsync(request, BodyHandlers.ofString()));
        }
        for (int number = 0; number < 90; number++) same(all.get(number).get().body(), "" + number);
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
        base = arguments[0];
        System.out.println("version Java " + System.getProperty("java.version"));
        client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_2)
            .sslContext(trusting(System.getenv("WAKERING_AUTHORITY"))).build();
        check("GET", () -> same(new String(ask(request("/").build())), "Hello, World!"));
        check("POST echoed", () -> echo("some words".getBytes()));
        check("empty POST", () -> echo(new byte[0]));
        check("10 MiB down", () -> same(ask(request("/bytes?n=" + TEN_MIB).build()).length, TEN_MIB));
        check("10 MiB up and back", () -> echo(pattern(TEN_MIB)));
        check("90 requests at once", ClientTls::atOnce);
        System.exit(0);
    }
}
