// A JMS listener as somebody else would write it: it knows ActiveMQ's client and nothing of Campanile. Prints one JSON
// line for each message of its queue, and answers where a message says to whom.

import java.util.Enumeration;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import javax.jms.*;
import org.apache.activemq.ActiveMQConnectionFactory;

public class Listener {
    public static void main(String[] args) throws Exception {
        String url = args[0], queue = args[1];
        CountDownLatch expected = new CountDownLatch(Integer.parseInt(args[2]));
        Connection connection = new ActiveMQConnectionFactory(url).createConnection();
        Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
        MessageProducer answers = session.createProducer(null);
        session.createConsumer(session.createQueue(queue)).setMessageListener(message -> {
            try {
                System.out.println(describe(message));
                if (message.getJMSReplyTo() != null) {
                    TextMessage answer = session.createTextMessage("answer\u0000 to " + ((TextMessage) message).getText());
                    answer.setJMSCorrelationID(message.getJMSCorrelationID());
                    answer.setStringProperty("campanile_sig", "java:signed\\here");
                    answer.setIntProperty("other", 7);
                    answers.send(message.getJMSReplyTo(), answer);
                }
            } catch (JMSException error) {
                System.out.println("{\"error\":" + quote(error.toString()) + "}");
            }
            expected.countDown();
        });
        connection.start();
        boolean all = expected.await(60, TimeUnit.SECONDS);
        connection.close();
        System.exit(all ? 0 : 3);
    }

    static String describe(Message message) throws JMSException {
        TreeMap<String, String> fields = new TreeMap<>();
        fields.put("text_message", String.valueOf(message instanceof TextMessage));
        fields.put("text", message instanceof TextMessage ? quote(((TextMessage) message).getText()) : "null");
        fields.put("correlation_id", quote(message.getJMSCorrelationID()));
        fields.put("reply_to", message.getJMSReplyTo() == null ? "null" : quote(message.getJMSReplyTo().toString()));
        fields.put("priority", String.valueOf(message.getJMSPriority()));
        fields.put("persistent", String.valueOf(message.getJMSDeliveryMode() == DeliveryMode.PERSISTENT));
        fields.put("expiration", String.valueOf(message.getJMSExpiration()));
        fields.put("redelivered", String.valueOf(message.getJMSRedelivered()));
        TreeMap<String, String> properties = new TreeMap<>();
        for (Enumeration<?> names = message.getPropertyNames(); names.hasMoreElements();) {
            String name = (String) names.nextElement();
            Object value = message.getObjectProperty(name);
            properties.put(name, value instanceof String ? quote((String) value) : quote(value.getClass().getName()));
        }
        fields.put("properties", object(properties));
        return object(fields);
    }

    static String object(TreeMap<String, String> fields) {
        StringBuilder out = new StringBuilder("{");
        fields.forEach((name, value) -> out.append(out.length() > 1 ? "," : "").append(quote(name)).append(':').append(value));
        return out.append('}').toString();
    }

    static String quote(String text) {
        if (text == null) {
            return "null";
        }
        StringBuilder out = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c < ' ' || c > '~' || c == '"' || c == '\\') {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        return out.append('"').toString();
    }
}
